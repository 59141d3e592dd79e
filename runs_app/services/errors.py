"""What the state machine refuses. Codes are the contract's; status codes belong to `runs_app.api`."""


class StateError(Exception):
    """A request that the present state does not allow; nothing was changed."""

    code = "invalid_transition"


class InvalidTransition(StateError):
    """The job or run is in a state that forbids this."""


class LeaseLost(StateError):
    """This attempt of this worker does not hold the job (any more)."""

    code = "lease_lost"


class TelemetryMissing(StateError):
    """The worker sent more of the attempt than is here, and can send it again."""

    code = "telemetry_missing"


class WorkerBusy(StateError):
    """The worker holds a live job; one at a time."""

    code = "busy"
