"""A reference model of one job: what the server must answer to any order and number of calls, in forty lines.

No clock: in the traces that it judges no lease runs out.
"""

from dataclasses import dataclass, field
from typing import Any

AFTER = {"complete": "completed", "shutdown": "pending", "invalid_data": "failed", "base_model_unavailable": "pending"}


@dataclass
class Model:
    """State of the job and of its attempts."""

    status: str = "pending"
    claims: list[str] = field(default_factory=list)  # the claim id of each attempt
    endings: dict[int, tuple[str, str]] = field(default_factory=dict)  # attempt -> (call, status afterwards)
    lines: set[tuple[int, int]] = field(default_factory=set)
    points: dict[tuple[str, int], int] = field(default_factory=dict)  # -> the attempt that was first

    @property
    def live(self) -> int | None:
        """The attempt that holds the job."""
        return len(self.claims) if self.claims and len(self.claims) not in self.endings else None

    def answer(self, call: str, body: dict[str, Any]) -> int:
        """The status code, after changing what the call changes."""
        if call == "claim":
            return self._claim(body["claim_id"])
        if call == "logs":
            return self._logs(body)
        if body["attempt"] == self.live:
            return self._held(call, body)
        repeated = self.endings.get(body["attempt"], ("", ""))[0] == call
        return 200 if repeated else 409

    def _claim(self, claim_id: str) -> int:
        if self.live:
            return 200 if self.claims[-1] == claim_id else 409
        if self.status != "pending" or claim_id in self.claims:
            return 204
        self.claims.append(claim_id)
        self.status = "running"
        return 200

    def _logs(self, body: dict[str, Any]) -> int:
        """Also those of an ended attempt."""
        if body["attempt"] > len(self.claims):
            return 409
        self.lines |= {(body["attempt"], line["seq"]) for line in body["lines"]}
        return 200

    def _held(self, call: str, body: dict[str, Any]) -> int:
        for point in body["metrics"] if call == "metrics" else ():
            self.points.setdefault((point["split"], point["step"]), body["attempt"])
        if call in ("complete", "fail", "release"):
            self.status = AFTER[body.get("reason", "complete")]
            self.endings[body["attempt"]] = (call, self.status)
        return 200
