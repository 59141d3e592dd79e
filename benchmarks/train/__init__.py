"""Training measured against the reference recipes: `python -m benchmarks.train --help`."""
