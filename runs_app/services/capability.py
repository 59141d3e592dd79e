"""Whether a worker can train a run at all: enough GPU memory for the base model, and the base model within reach."""

from dataclasses import dataclass
from typing import Any

from runs_app.models import BUILTIN_TINY_BERT, BaseModel, Run
from workers_app.models import Worker

# Weights, gradients and AdamW's two moments in fp32. Mixed precision keeps all four.
BYTES_PER_PARAMETER = 16
# What CUDA takes for itself, and one text at a time with gradient checkpointing: the least a worker can shrink to.
BYTES_OF_CONTEXT = 768 * 2**20
BYTES_PER_TOKEN = 2**19

# `memory_needed` in SQL, told of one parameter: of the numbers that a person may type, the product is beyond a bigint.
TOO_LARGE = f"""EXISTS (
    SELECT 1 FROM bert_base_models AS model
     WHERE model.model_id = run.base_model AND model.parameter_count > 0
       AND model.parameter_count > (
           %(memory)s - {BYTES_OF_CONTEXT} - CAST(run.max_length AS bigint) * {BYTES_PER_TOKEN}
       ) / {BYTES_PER_PARAMETER})"""  # noqa: S608


@dataclass(frozen=True)
class Lack:
    """What keeps a worker from a run: `memory` or `base_model`. needed_bytes: of GPU memory, for `memory`."""

    of: str
    needed_bytes: int = 0


def memory_needed(model: BaseModel, max_length: int) -> int:
    """Bytes of GPU memory under which no batch size fits; 0 where the size of the model is not known.

    An estimate from below: a worker that is offered the run may still have to shrink its batches, and a GPU that
    other programs use may still be too small.
    """
    if not model.parameter_count:
        return 0
    return BYTES_OF_CONTEXT + model.parameter_count * BYTES_PER_PARAMETER + max_length * BYTES_PER_TOKEN


def gpu_memory(worker: Worker) -> int | None:
    """Bytes of the worker's largest GPU; None without one (it trains on the CPU) or where it did not say."""
    sizes = [gpu.get("memory_bytes") for gpu in worker.hardware.get("gpus") or []]
    return max((size for size in sizes if size), default=None)


def lack_of(worker: Worker, run: Run, catalogue: dict[str, BaseModel]) -> Lack | None:
    """What keeps `worker` from `run`, or None. catalogue: base models by their id."""
    model = catalogue.get(run.base_model)
    if not _has_or_gets(worker, run.base_model):
        return Lack("base_model")
    if model is None:
        return None
    needed, memory = memory_needed(model, run.max_length), gpu_memory(worker)
    return Lack("memory", needed) if memory is not None and needed > memory else None


def beyond(worker: Worker) -> tuple[str, dict[str, Any]]:
    """The runs for which `lack_of` names something, as a SQL condition on `run` and its parameters."""
    conditions, values = ["1 = 0"], {}
    memory = gpu_memory(worker)
    if memory is not None:
        conditions.append(TOO_LARGE)
        values["memory"] = memory
    if not worker.may_download:
        within_reach = {f"model_{n}": name for n, name in enumerate([BUILTIN_TINY_BERT, *worker.base_models])}
        conditions.append(f"run.base_model NOT IN ({', '.join(f'%({name})s' for name in within_reach)})")
        values |= within_reach
    return " OR ".join(conditions), values


def _has_or_gets(worker: Worker, base_model: str) -> bool:
    return worker.may_download or base_model == BUILTIN_TINY_BERT or base_model in worker.base_models
