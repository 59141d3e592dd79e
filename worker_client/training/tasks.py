"""The one place that knows which tasks there are."""

from collections.abc import Sequence

from worker_client.formats import TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION
from worker_client.training.task import Task
from worker_client.training.text_classification import TextClassification
from worker_client.training.token_classification import TokenClassification

TASKS: dict[str, type[Task]] = {TEXT_CLASSIFICATION: TextClassification, TOKEN_CLASSIFICATION: TokenClassification}


def task_for(task_type: str, labels: Sequence[str]) -> Task:
    """The task of a run with its labels."""
    return TASKS[task_type](labels)


def task_of_architecture(architecture: str, labels: Sequence[str]) -> Task | None:
    """The task of a saved model, by the class that its config.json names; None when it is not one of ours."""
    for task in TASKS.values():
        if architecture.endswith(task.auto_class.removeprefix("AutoModel")):
            return task(labels)
    return None
