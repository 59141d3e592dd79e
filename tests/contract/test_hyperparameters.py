"""What the server lets a person ask for, the worker must be able to do."""

import math
import sys
from typing import Any

import pytest

from runs_app.hyperparameters import HYPERPARAMETERS, Choice, Number, Parameter
from worker_client.training.hyperparameters import Hyperparameters


def ends(parameter: Parameter) -> list[Any]:
    """The default and whatever lies at the edge of what the server accepts."""
    if isinstance(parameter, Number):
        low = sys.float_info.min if parameter.above else parameter.low
        high = math.nextafter(parameter.high, 0) if parameter.below else parameter.high
        return [parameter.default, low, high]
    return list(parameter.options) if isinstance(parameter, Choice) else [True, False]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, parameter in HYPERPARAMETERS.items() for value in ends(parameter)]
)
def test_the_worker_takes_every_value_that_the_server_accepts(name: str, value: Any) -> None:
    assert getattr(Hyperparameters.from_spec({name: HYPERPARAMETERS[name].check(value)}), name) == value


def test_both_sides_have_the_same_defaults() -> None:
    assert {name: parameter.default for name, parameter in HYPERPARAMETERS.items()} == vars(
        Hyperparameters.from_spec({})
    )
