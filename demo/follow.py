"""Follows a run through the public API, as any script of a user would, and says what it sees."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

LOOK_EVERY_S = 1.0
TIMEOUT_S = 10.0
OVER = ("completed", "failed", "cancelled")


class Api:
    """Reads the server's API with a person's token."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self._token = token

    def get(self, path: str) -> dict[str, Any]:
        """The JSON answer of `/bert-training/api<path>`. Raises OSError while the server does not answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        request = urllib.request.Request(f"{self.address}/bert-training/api{path}", headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  (loopback, our own address)
            return dict(json.load(answer))

    def is_ready(self) -> bool:
        """Whether database, migrations and storage are there."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=TIMEOUT_S) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


def follow_run(api: Api, run_id: int, *, say: Callable[[str], None], check: Callable[[], None]) -> dict[str, Any]:
    """Say phases and epochs as they come; returns the run once it is over.

    `check` is called between two looks and raises when there is no use in going on.
    """
    said_phase, said_epochs, began = "", 0, time.monotonic()
    while True:
        check()
        run = api.get(f"/runs/{run_id}")
        lines = epoch_lines(api.get(f"/runs/{run_id}/metrics")["results"], run["hyperparameters"]["epochs"])
        for line in lines[said_epochs:]:
            say(f"[{_clock(began)}] {line}")
        said_epochs = len(lines)
        phase = run["job"]["progress"]["phase"] or run["status"]
        if phase != said_phase and phase not in ("evaluating", *OVER):
            said_phase = phase
            say(f"[{_clock(began)}] {phase}")
        if run["status"] in OVER:
            return run
        time.sleep(LOOK_EVERY_S)


def epoch_lines(points: list[dict[str, Any]], epochs: int) -> list[str]:
    """One line per evaluated epoch."""
    losses = {point["step"]: point["values"].get("loss") for point in points if point["split"] == "train"}
    return [
        f"epoch {point['epoch']:g} of {epochs}: training loss {_figure(losses.get(point['step']))}, "
        f"validation loss {_figure(point['values'].get('loss'))}, macro F1 {_figure(point['values'].get('f1'))}"
        for point in points
        if point["split"] == "validation"
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _clock(began: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"{minutes}:{seconds:02d}"
