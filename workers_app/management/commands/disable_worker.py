"""`manage.py disable_worker NAME`"""

from workers_app.management.worker_switch import WorkerSwitch


class Command(WorkerSwitch):
    """Disables a worker: its token is refused from its next call on."""

    help = "Disable a worker: its token is refused from its next call on."
    enabled = False
