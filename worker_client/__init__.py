"""The worker: polls the server, trains on this machine, keeps the weights here.

Importing this package loads neither Django, torch nor requests; the reader in `worker_client.formats` is
shared with the server and needs the standard library only.
"""

__version__ = "0.1.0"
