"""`python -m demo`: from nothing to a trained model on this machine, through the real parts.

It prepares a database of its own, starts the server and a worker as the processes that they are in production, and
follows the run through the public API. Nothing imports this package but the end-to-end tests.
"""
