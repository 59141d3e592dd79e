"""The story of `make demo`: prepare, start, follow, tell, serve, stop."""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from demo.children import Children, Watchdog
from demo.environment import HOST, ROOT, SAMPLE, DemoFailed, Place, check_port, fresh_place, server_environment, use
from demo.follow import Api, follow_run

READY_WITHIN_S = 60


def main() -> int:
    """0 when the run completed (with --exit) or a person ended the demo after it; 1 with the reason otherwise."""
    options = _arguments()
    # SIGINT too: who is started in the background by a shell inherits that it is ignored.
    for number in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), _interrupt)
    try:
        return _run(options)
    except DemoFailed as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted before the run was over; everything is stopped.", file=sys.stderr)
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--exit", action="store_true", help="stop everything once the run is over")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "demo", help="where everything of the demo lies")
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    check_port(options.port)
    place = fresh_place(options.folder.absolute())
    say(f"Preparing a database in {_shown(place.root)}")
    use(server_environment(place))
    from demo.preparation import HYPERPARAMETERS, LOGIN, prepare

    prepared = prepare()
    address = f"http://{HOST}:{options.port}"
    say(f"Imported {SAMPLE.name}: {prepared.num_rows} rows. Queued run {prepared.run_id}: {_words(HYPERPARAMETERS)}")
    login = f"  Admin     {address}/admin/\n  Login     {LOGIN}\n  Password  {prepared.password}"
    with Watchdog(place.work_dir) as watchdog, Children(place, watchdog) as children:
        api = Api(address, prepared.api_token)
        children.start_server(options.port)
        _wait_until(api.is_ready, children.check)
        children.start_worker(address, prepared.worker_token)
        say(f"Server and worker are running; watch the run in a browser:\n{login}")
        run = follow_run(api, prepared.run_id, say=say, check=children.check)
        _tell(run, place, children)
        if not options.exit:
            say(f"{login}\nServing until Ctrl-C.")
            _serve(children)
    return 0


def _wait_until(is_ready: Callable[[], bool], check: Callable[[], None]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not is_ready():
        check()
        if time.monotonic() > deadline:
            raise DemoFailed(f"the server did not become ready within {READY_WITHIN_S} s.")
        time.sleep(0.2)


def _tell(run: dict[str, Any], place: Place, children: Children) -> None:
    """The end of the run. Raises DemoFailed when it is not a good one."""
    if run["status"] != "completed":
        reason = f"{run['failure_reason']}: {run['error']}" if run["error"] else "it has no error of its own."
        raise DemoFailed(f"the run ended as {run['status']}. {reason}\n{children.tails()}")
    children.run_is_over()
    metrics = run["metrics"]
    predict = f"{_python()} -m worker_client predict --model {_shown(Path(run['model_path']))}"
    say(
        f"The run is completed; the weights of epoch {run['best_epoch']:g} were kept.\n"
        f"  Test macro F1            {metrics['f1']:.3f}  (accuracy {metrics['accuracy']:.3f})\n"
        f"  Majority-class baseline  {metrics['baseline_f1']:.3f}  (accuracy {metrics['baseline_accuracy']:.3f})\n"
        f"  Model directory          {run['model_path']}\n"
        "To classify a sheet with it:\n"
        f"  {predict} --input {_shown(SAMPLE)} --output {_shown(place.root / 'predictions.xlsx')}"
    )


def _serve(children: Children) -> None:
    """Until a person ends it. Raises DemoFailed when a process ends by itself."""
    try:
        while True:
            children.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("\nStopping server and worker.")


def say(line: str) -> None:
    """To the person at the terminal, at once."""
    print(line, flush=True)


def _words(values: dict[str, Any]) -> str:
    return "builtin/tiny-bert, " + ", ".join(f"{name} {value:g}" for name, value in values.items())


def _shown(path: Path) -> str:
    """Relative to the project where it lies inside, as a person in that folder would type it."""
    return shlex.quote(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path))


def _python() -> str:
    return ".venv\\Scripts\\python" if sys.platform == "win32" else ".venv/bin/python"


if __name__ == "__main__":
    sys.exit(main())
