"""`manage.py enable_worker NAME`"""

from workers_app.management.worker_switch import WorkerSwitch


class Command(WorkerSwitch):
    """Enables a worker: its token is accepted again."""

    help = "Enable a worker: its token is accepted again."
    enabled = True
