"""benchmarks/results/faults.md, and beside it the same figures as JSON, so that one fault alone can be run again."""

import json
import os
import platform
from pathlib import Path
from typing import Any

from tests.faults.arena import FAULTS, Verdict

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
HEAD = """# Faults: what the queue survives

`make faults N={n} SEED={seed}`. Each row is one campaign against a whole installation: a real server process, real
worker processes behind a proxy, a stub in the place of the training (`tests/faults/stub_trainer.py`) except where the
row says otherwise. Leases are 3 s instead of 10 minutes, heartbeats 0.5 s instead of 30. N is the number of faults
injected. Afterwards `tests/faults/checker.py` replays every request, answer and training step, and the final database,
against the invariants named there: one live attempt, final states absorb, completed once, every metric point and log
line exactly once, nothing accepted after a fence, nothing acknowledged lost, nothing stuck. A single violation
fails the row.

Machine: {machine}

| fault | what is done | database | N | outcome counts | verdict | seed | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def record(verdict: Verdict, folder: Path = FOLDER) -> None:
    """Replace this fault's row for this database, and write the table anew."""
    kept = folder / "faults.json"
    rows = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    rows[f"{verdict.fault.name} {verdict.database}"] = _row(verdict)
    ordered = dict(sorted(rows.items(), key=lambda item: (number_of(item[0]), item[0])))
    kept.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "faults.md").write_text(_page(ordered), encoding="utf-8")


def number_of(name: str) -> int:
    """F12 sqlite -> 12."""
    return int(name.split()[0].removeprefix("F"))


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "n": verdict.n,
        "outcomes": dict(sorted(verdict.outcomes.items())),
        "violations": [str(violation) for violation in verdict.violations][:10],
        "seed": verdict.seed,
        "seconds": round(verdict.seconds),
        "machine": machine(),
    }


def machine() -> str:
    """Kind and number of processors, system, Python; no names."""
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} virtual cores, {system}"


def _page(rows: dict[str, dict[str, Any]]) -> str:
    last = max(rows.values(), key=lambda row: int(row["n"]))
    machines = " / ".join(sorted({row["machine"] for row in rows.values()}))
    page = HEAD.format(n=last["n"], seed=last["seed"], machine=machines)
    return page + "".join(_line(name, row) for name, row in rows.items()) + _violations(rows)


def _line(name: str, row: dict[str, Any]) -> str:
    fault, database = name.split()
    known = FAULTS[fault]
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in row["outcomes"].items())
    verdict = f"**{len(row['violations'])} violations**" if row["violations"] else "holds"
    cells = (f"{fault} {known.title}", known.what, database, row["n"], outcomes, verdict, row["seed"], row["seconds"])
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def _violations(rows: dict[str, dict[str, Any]]) -> str:
    found = [f"- {name}: {violation}\n" for name, row in rows.items() for violation in row["violations"]]
    return "\n## Violations\n\n" + "".join(found) if found else ""
