"""The recipe that a machine gets."""

import pytest
import torch

from worker_client.training.environment import Recipe, choose_recipe, memory_peak


@pytest.mark.parametrize(
    ("able", "precision"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_bf16": False, "avx2": True}, "fp32")],
)
def test_auto_is_bf16_on_a_processor_only_where_it_multiplies_bf16_itself(monkeypatch, able, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert choose_recipe("cpu", "auto") == Recipe("cpu", precision)


def test_a_torch_that_does_not_tell_what_the_processor_can_trains_in_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_recipe("cpu", "auto").precision == "fp32"


@pytest.mark.parametrize(("capability", "precision", "tf32"), [((7, 5), "fp16", False), ((8, 0), "bf16", True)])
def test_auto_on_a_gpu_goes_by_its_generation(monkeypatch, capability, precision, tf32):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    recipe = choose_recipe("auto", "auto")
    assert (recipe.device, recipe.precision, recipe.tf32) == ("cuda", precision, tf32)


def test_a_run_on_the_processor_tells_no_gpu_memory():
    assert memory_peak(Recipe("cpu", "fp32")) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_tells_the_most_memory_that_it_held():
    held = torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")
    peak = memory_peak(Recipe("cuda", "fp32"))
    assert peak is not None
    assert peak >= held.numel()
