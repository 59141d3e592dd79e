"""`make faults`: python -m tests.faults --n 50 --seed 7 --faults "F1 F9" --database both."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.end_to_end.site import SAMPLES
from tests.faults import campaigns
from tests.faults.arena import FAULTS, Fault, Verdict, run_campaign
from tests.faults.cluster import Cluster
from tests.faults.postgres import Postgres
from tests.faults.report import number_of, record

WORKERS = 4
SHEET = SAMPLES / "andamentos_train.xlsx"
DATABASES = ("sqlite", "postgresql")


def main() -> int:
    """Exit code 1 when an invariant broke."""
    options = _options()
    names = options.faults.split() or sorted(FAULTS, key=number_of)
    chosen = [FAULTS[name] for name in names]
    wanted = DATABASES if options.database == "both" else (options.database,)
    print(f"seed {options.seed}, {len(campaigns.__all__)} groups, {len(chosen)} faults on {' and '.join(wanted)}")
    failed = [verdict for database in wanted for verdict in _on(database, chosen, options) if not verdict.passed]
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--n", type=int, default=50, help="faults of each kind and database")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--faults", default="", help='for example "F1 F9"; all by default')
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--no-record", action="store_true", help="leave benchmarks/results as it is")
    return parser.parse_args()


def _on(database: str, chosen: list[Fault], options: argparse.Namespace) -> list[Verdict]:
    postgres = Postgres() if database == "postgresql" else None
    try:
        return [_one(fault, postgres, options) for fault in chosen if database in fault.databases]
    finally:
        if postgres:
            postgres.stop()


def _one(fault: Fault, postgres: Postgres | None, options: argparse.Namespace) -> Verdict:
    """An installation of its own for each campaign, kept where an invariant broke."""
    folder = Path(tempfile.mkdtemp(prefix=f"bert-faults-{fault.name}-"))
    url = postgres.create() if postgres else f"sqlite:///{folder / 'db.sqlite3'}"
    cluster = Cluster(folder, url, seed=options.seed, postgres=postgres)
    try:
        cluster.open(SHEET, WORKERS)
        verdict = run_campaign(cluster, fault, n=options.n, seed=options.seed)
        cluster.history.write(folder / "history.jsonl")
    finally:
        cluster.close()
    _tell(verdict, folder)
    if not options.no_record:
        record(verdict)
    return verdict


def _tell(verdict: Verdict, folder: Path) -> None:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(verdict.outcomes.items()))
    word = "holds" if verdict.passed else f"{len(verdict.violations)} VIOLATIONS"
    title = f"{verdict.fault.name} {verdict.fault.title} on {verdict.database}"
    print(f"{title}: N={verdict.n}, {outcomes}: {word} ({verdict.seconds:.0f} s)", flush=True)
    for violation in verdict.violations[:20]:
        print(f"  {violation}")
    if verdict.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"  everything is kept in {folder}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
