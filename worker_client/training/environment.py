"""The device and precision of this machine, and how they are described in a run."""

import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.protocol import TrainingSpec
from worker_client.training import together

logger = logging.getLogger(__name__)

AMPERE = 8  # first compute capability with bf16 units
# Under autocast their attention fills bf16 and fp16 scores with the least number of fp32, which is none of theirs.
FP32_ONLY = ("deberta",)


@dataclass(frozen=True)
class Recipe:
    """What the child decided for this machine; it is written into the run."""

    device: str  # cpu or cuda
    precision: str  # fp32, bf16 or fp16

    @property
    def dtype(self) -> torch.dtype:
        """Of the arithmetic; the weights are fp32 whatever it is."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    @property
    def tf32(self) -> bool:
        """Whether what is left of fp32 multiplies with 10 bits of fraction: seven times as fast, and enough here."""
        return self.device == "cuda" and _is_ampere()


def choose_recipe(device: str, precision: str) -> Recipe:
    """Map `auto` to what the machine does well. Raises TrainingFailed when a wish cannot be met."""
    where = _device(device)
    if precision == "auto":
        return Recipe(where, _auto_precision(where))
    if precision == "fp16" and where == "cpu":
        raise TrainingFailed(
            FailureReason.INVALID_DATA, "Precision fp16 needs a GPU, this worker has none. Choose auto, fp32 or bf16."
        )
    return Recipe(where, precision)


def as_far_as(model_type: str, recipe: Recipe, wanted: str) -> Recipe:
    """The recipe as far as the library's models of this family can follow it.

    wanted: the person's precision. Raises TrainingFailed where that is no `auto` and cannot be met.
    """
    if model_type not in FP32_ONLY or recipe.precision == "fp32":
        return recipe
    if wanted != "auto":
        said = f"{model_type} models can be trained in fp32 only, not in {wanted}. Choose precision auto or fp32."
        raise TrainingFailed(FailureReason.INVALID_DATA, said)
    logger.info(
        "Precision fp32 instead of %s: the library computes %s models in no other", recipe.precision, model_type
    )
    return replace(recipe, precision="fp32")


def limit_memory(recipe: Recipe, share: float | None) -> None:
    """Leave the rest of the GPU's memory to others: beyond the share an allocation fails.

    Of several processes each limits itself on its own GPU, which is not yet the current one here.
    """
    if share and recipe.device == "cuda":
        torch.cuda.set_per_process_memory_fraction(share, together.rank())


def memory_peak(recipe: Recipe) -> int | None:
    """Most bytes of the GPU that this process held at once; None on a CPU."""
    return torch.cuda.max_memory_reserved() if recipe.device == "cuda" else None


def describe(spec: TrainingSpec, recipe: Recipe) -> dict[str, Any]:
    """Versions and hardware, for the run page and run.json."""
    import transformers

    cuda = recipe.device == "cuda"
    return {
        "worker": spec.worker_name,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if cuda else _processor(),
        "cuda": torch.version.cuda if cuda else None,
        "gpu_memory_bytes": torch.cuda.get_device_properties(0).total_memory if cuda else None,
        "precision": recipe.precision,
        "tf32": recipe.tf32,
        "cpu_threads": torch.get_num_threads(),
    }


def _device(wanted: str) -> str:
    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise TrainingFailed(
        FailureReason.INTERNAL_ERROR,
        f"The worker was started with --device {wanted}, but torch {torch.__version__} sees no CUDA GPU. "
        "Run `python -m worker_client doctor` on it.",
    )


def _auto_precision(device: str) -> str:
    if device == "cpu":
        return "bf16" if _bf16_pays() else "fp32"
    return "bf16" if _is_ampere() else "fp16"


def _is_ampere() -> bool:
    """Of all GPUs in sight, since processes that share a run must compute alike: fp16 scales its gradients."""
    return all(torch.cuda.get_device_capability(at)[0] >= AMPERE for at in range(torch.cuda.device_count()))


def _bf16_pays() -> bool:
    """Whether this processor multiplies bf16 by itself; one that only imitates it is slower than in fp32."""
    able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.10 does not tell
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _processor() -> str:
    return f"CPU {platform.processor() or platform.machine()}"
