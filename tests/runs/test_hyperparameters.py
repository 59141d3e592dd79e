"""The hyperparameters of a run: their defaults, and what is refused."""

from typing import Any

import pytest

from runs_app.hyperparameters import HYPERPARAMETERS, InvalidHyperparameters, as_ordered, resolve


def test_without_any_given_the_defaults_of_the_contract_hold() -> None:
    assert resolve({}) == {
        "learning_rate": 5e-5,
        "batch_size": 16,
        "epochs": 10,
        "max_length": 256,
        "train_split": 0.8,
        "weight_decay": 0.01,
        "warmup_ratio": 0.1,
        "lr_scheduler": "linear",
        "early_stopping_patience": 3,
        "metric_for_best": "f1",
        "class_weights": "none",
        "long_text": "truncate",
        "window_stride": 128,
        "precision": "auto",
        "gradient_checkpointing": False,
        "save_every_minutes": 5,
        "label_smoothing": 0,
        "layer_lr_decay": 1,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", -1e-5),
        ("learning_rate", 1.5),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", True),
        ("learning_rate", "5e-5"),
        ("learning_rate", None),
        ("batch_size", 0),
        ("batch_size", 1025),
        ("batch_size", 2.5),
        ("batch_size", 10**400),
        ("batch_size", float("inf")),
        ("batch_size", float("nan")),
        ("epochs", 0),
        ("epochs", True),
        ("max_length", 7),
        ("train_split", 1.0),
        ("warmup_ratio", 1.01),
        ("early_stopping_patience", -1),
        ("lr_scheduler", "quadratic"),
        ("lr_scheduler", ["linear"]),
        ("metric_for_best", {}),
        ("class_weights", None),
        ("long_text", 1),
        ("precision", "fp64"),
        ("label_smoothing", 1),
        ("label_smoothing", -0.1),
        ("layer_lr_decay", 0),
        ("layer_lr_decay", 1.01),
        ("gradient_checkpointing", 1),
        ("gradient_checkpointing", "true"),
        ("save_every_minutes", -0.1),
        ("dropout", 0.1),
        ("", 1),
    ],
)
def test_a_value_out_of_its_range_or_type_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidHyperparameters) as refused:
        resolve({name: value})
    assert list(refused.value.errors) == [name]
    assert refused.value.errors[name][0]


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(InvalidHyperparameters) as refused:
        resolve({"epochs": 0, "batch_size": "x", "dropout": 1})
    assert set(refused.value.errors) == {"epochs", "batch_size", "dropout"}


def test_a_whole_number_written_as_a_float_is_kept_as_an_integer() -> None:
    value = resolve({"epochs": 3.0})["epochs"]
    assert (value, type(value)) == (3, int)


def test_a_window_stride_must_be_smaller_than_the_window() -> None:
    with pytest.raises(InvalidHyperparameters) as refused:
        resolve({"long_text": "windows", "max_length": 64, "window_stride": 64})
    assert list(refused.value.errors) == ["window_stride"]


@pytest.mark.parametrize(("max_length", "stride"), [(8, 4), (128, 64), (200, 100), (256, 128), (512, 128)])
def test_short_windows_share_at_most_half_where_nobody_says_how_much(max_length: int, stride: int) -> None:
    assert resolve({"long_text": "windows", "max_length": max_length})["window_stride"] == stride


def test_the_window_stride_does_not_matter_without_windows() -> None:
    assert resolve({"long_text": "truncate", "max_length": 64})["window_stride"] == 128


@pytest.mark.parametrize(("text", "value"), [("3e-5", 3e-5), ("0,00003", 3e-5), (" 5E-5 ", 5e-5)])
def test_a_number_is_read_from_text_with_point_or_comma(text: str, value: float) -> None:
    assert HYPERPARAMETERS["learning_rate"].parse(text) == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e999", "um", "0x10", "1.000,5"])
def test_text_that_is_no_number_in_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        HYPERPARAMETERS["learning_rate"].parse(text)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("No", False), ("off", False)])
def test_a_switch_is_read_from_words(text: str, value: bool) -> None:
    assert HYPERPARAMETERS["gradient_checkpointing"].parse(text) is value


@pytest.mark.parametrize("text", ["inf", "nan", "1e400", "2.5", ""])
def test_text_that_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        HYPERPARAMETERS["epochs"].parse(text)


def test_a_worker_of_an_earlier_release_is_sent_only_names_that_it_knows() -> None:
    assert resolve({}).keys() - as_ordered(resolve({})).keys() == {"label_smoothing", "layer_lr_decay"}


def test_an_added_name_is_ordered_where_it_changes_something() -> None:
    ordered = as_ordered(resolve({"label_smoothing": 0.1, "epochs": 10}))
    assert (ordered["label_smoothing"], ordered["epochs"]) == (0.1, 10)
    assert "layer_lr_decay" not in ordered
