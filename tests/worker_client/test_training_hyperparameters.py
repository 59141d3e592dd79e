"""Hyperparameters mean exactly what CONTRACT says, and nothing unknown is ignored."""

import pytest
from transformers.trainer_utils import SchedulerType

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.training.environment import Recipe
from worker_client.training.hyperparameters import SCHEDULERS, Hyperparameters
from worker_client.training.trainer import device_batch, training_arguments


def arguments(tmp_path, *, recomputes=False, **values):
    return training_arguments(
        Hyperparameters.from_spec(values),
        seed=3,
        recipe=Recipe("cpu", "fp32"),
        output_dir=str(tmp_path),
        largest_batch=None,
        recomputes=recomputes,
    )


def test_defaults_are_those_of_the_contract():
    hyper = Hyperparameters.from_spec({})
    assert (hyper.learning_rate, hyper.batch_size, hyper.epochs, hyper.max_length) == (5e-5, 16, 10, 256)
    assert (hyper.early_stopping_patience, hyper.metric_for_best, hyper.window_stride) == (3, "f1", 128)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", "fast"),
        ("batch_size", 2.5),
        ("epochs", True),
        ("epochs", 1e9),
        ("epochs", float("nan")),
        ("batch_size", 10**400),
        ("max_length", "inf"),
        ("metric_for_best", ["f1"]),
        ("warmup_ratio", 1),
        ("lr_scheduler", "zigzag"),
        ("long_text", "ignore"),
        ("precision", "fp8"),
        ("gradient_checkpointing", "yes"),
        ("label_smoothing", 1),
        ("label_smoothing", -0.1),
        ("layer_lr_decay", 0),
        ("layer_lr_decay", 1.1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(TrainingFailed) as refused:
        Hyperparameters.from_spec({name: value})
    assert refused.value.reason == FailureReason.INVALID_DATA
    assert name in refused.value.message


def test_an_unknown_name_is_refused():
    with pytest.raises(TrainingFailed, match="learning_rat"):
        Hyperparameters.from_spec({"learning_rat": 1e-5})


def test_every_scheduler_is_one_of_the_library():
    assert {SchedulerType(name) for name in SCHEDULERS}


def test_warmup_is_a_share_of_all_steps(tmp_path):
    assert arguments(tmp_path, warmup_ratio=0.25).get_warmup_steps(80) == 20


def test_names_reach_the_library(tmp_path):
    mapped = arguments(
        tmp_path,
        learning_rate=3e-5,
        weight_decay=0.05,
        lr_scheduler="cosine",
        epochs=4,
        metric_for_best="loss",
        label_smoothing=0.1,
        recomputes=True,
    )
    assert (mapped.learning_rate, mapped.weight_decay, mapped.num_train_epochs) == (3e-5, 0.05, 4)
    assert mapped.lr_scheduler_type == SchedulerType.COSINE
    assert (mapped.greater_is_better, mapped.label_smoothing_factor) == (False, 0.1)
    recomputes = [getattr(mapped, f"{what}_checkpointing", False) for what in ("activation", "gradient")]
    assert True in recomputes  # the first name came with a later transformers


@pytest.mark.parametrize(
    ("effective", "largest", "expected"), [(16, None, (16, 1)), (16, 8, (8, 2)), (16, 5, (4, 4)), (7, 4, (1, 7))]
)
def test_the_effective_batch_never_changes(effective, largest, expected):
    assert device_batch(effective, largest) == expected
