"""Our side: the worker's training child as the runner starts it, and prediction as `predict` does it.

python -m benchmarks.train.ours train WORKSPACE
python -m benchmarks.train.ours predict MODEL SHEET TASK DEVICE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.train.sheets import read_parts
from benchmarks.train.turns import Channel, Meter, Stopwatch, peak_memory, take_part
from worker_client.training.__main__ import main as child
from worker_client.workspace import Workspace

OF_THE_PLACE = ("worker", "platform", "device")  # what a run says of its machine and we do not
LATE_IMPORT = "worker_client.training.attempt"


def train(workspace: str) -> None:
    """The child's whole life, from its spec to the exported model."""
    channel = Channel()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        # The child sets the environment of torch before it imports it: we may join only then.
        if event == "import" and arguments[0] == LATE_IMPORT:
            take_part(channel)

    sys.addaudithook(watch)
    code = child([workspace])
    outcome = Workspace(Path(workspace)).read_outcome()
    if code or outcome is None:
        raise SystemExit(f"the child ended with {code}: {outcome and outcome.message}")
    recipe = {key: value for key, value in outcome.environment.items() if key not in OF_THE_PLACE}
    channel.tell(**peak_memory(), recipe=recipe)


def predict(model: str, sheet: str, task: str, device: str) -> None:
    """The rows of the part `test`, again in each turn: from texts to labels."""
    from worker_client.training.inference import Predictor
    from worker_client.training.prediction import DEFAULT_BATCH

    channel, meter = Channel(), Meter()
    records = read_parts(Path(sheet), task)["test"]
    predictor = Predictor(Path(model), device=device, batch_size=DEFAULT_BATCH)
    meter.watch(predictor._model)
    channel.tell(ready=True)
    while True:
        channel.wait()
        meter.restart()
        stopwatch = Stopwatch()
        predictor.predict(records)
        channel.tell(predict={**stopwatch.look(), **meter.read(training=False)})


if __name__ == "__main__":
    {"train": train, "predict": predict}[sys.argv[1]](*sys.argv[2:])
