"""The layers of an encoder, and a learning rate for each: what lies deeper is more general and should change less."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from torch import nn

from worker_client.errors import FailureReason, TrainingFailed


def check_layers(model: Any, decay: float) -> None:
    """Raises TrainingFailed(invalid_data) where a rate by layer is asked of a model whose layers are not known."""
    if decay < 1:
        _stack(model)


def last_layer(model: Any) -> nn.Module:
    """Raises TrainingFailed(invalid_data) where the layers are not known."""
    stack, count = _stack(model)
    return model.get_submodule(f"{stack}.{count - 1}")


def parameter_groups(
    model: Any, *, learning_rate: float, decay: float, weight_decay: float, decayed: Iterable[str]
) -> list[dict[str, Any]]:
    """Groups for an optimizer, the head first: its rate is `learning_rate`, and the one that is logged.

    Each step down, from the head over the layers to the embeddings, multiplies the rate by `decay`. decayed: names of
    the parameters that `weight_decay` is for; the others (biases, norms) have none.
    """
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    below, decayed = depths_below_head(model), set(decayed)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[below[name], name in decayed].append(parameter)
    return [
        {"params": parameters, "lr": learning_rate * decay**steps, "weight_decay": weight_decay if shrinks else 0.0}
        for (steps, shrinks), parameters in sorted(groups.items(), key=lambda item: (item[0][0], not item[0][1]))
    ]


def depths_below_head(model: Any) -> dict[str, int]:
    """Steps from the head down to each parameter: 0 for head and pooler, 1 for the last layer, most for embeddings."""
    stack, count = _stack(model)
    return {name: _depth(name, stack, count) for name, _ in model.named_parameters()}


def _depth(name: str, stack: str, count: int) -> int:
    if name.startswith(f"{stack}."):
        return count - int(name.removeprefix(f"{stack}.").split(".")[0])
    return count + 1 if "embed" in name else 0


def _stack(model: Any) -> tuple[str, int]:
    """Name and length of the list of layers. Models that share one layer among all (ALBERT) have none."""
    count = model.config.num_hidden_layers
    found = [
        name for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if len(found) != 1:
        raise TrainingFailed(
            FailureReason.INVALID_DATA,
            f"layer_lr_decay needs a base model whose layers are known, and those of {model.config.model_type} models "
            "are not. Create the run again with layer_lr_decay 1, or with another base model.",
        )
    return found[0], count
