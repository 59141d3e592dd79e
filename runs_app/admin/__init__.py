"""What people see of runs, and of datasets and workers where runs come in: those two apps know of none."""

from runs_app.admin import base_models, datasets, queue, runs, trained_models, workers

__all__ = ["base_models", "datasets", "queue", "runs", "trained_models", "workers"]
