"""The recipe that a machine gets."""

import os
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, DebertaConfig

from tests.worker_client.training_factories import (
    calm_base,
    log_of,
    make_spec,
    make_workspace,
    text_rows,
)
from worker_client.errors import ChildExit, TrainingFailed
from worker_client.training.__main__ import _prepare_process, main
from worker_client.training.environment import Recipe, as_far_as, choose_recipe, limit_memory, memory_peak


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
def test_auto_on_gpus_goes_by_the_oldest_of_them(monkeypatch, capability, precision, tf32):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", [(9, 0), capability].__getitem__)
    recipe = choose_recipe("auto", "auto")
    assert (recipe.device, recipe.precision, recipe.tf32) == ("cuda", precision, tf32)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_wish_that_a_family_of_models_cannot_meet_is_refused(precision):
    with pytest.raises(TrainingFailed, match=f"deberta models can be trained in fp32 only, not in {precision}"):
        as_far_as("deberta", Recipe("cuda", precision), precision)
    assert as_far_as("deberta-v2", Recipe("cuda", precision), precision).precision == precision


@pytest.mark.slow
def test_a_deberta_is_trained_on_a_processor_that_multiplies_bf16(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    rows = text_rows(40)
    tokenizer = AutoTokenizer.from_pretrained(calm_base(tmp_path, rows))
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    AutoModel.from_config(DebertaConfig(vocab_size=len(tokenizer), **small)).save_pretrained(tmp_path / "deberta")
    tokenizer.save_pretrained(tmp_path / "deberta")
    base = {"base_model": "some/deberta", "base_model_dir": str(tmp_path / "deberta")}
    spec = make_spec(tmp_path, rows, hyperparameters={"precision": "auto", "epochs": 1}, **base)
    workspace = make_workspace(tmp_path, spec)
    assert main([str(workspace.root)]) == ChildExit.COMPLETED
    assert workspace.read_outcome().environment["precision"] == "fp32"
    assert "the library computes deberta models in no other" in log_of(workspace)


@pytest.mark.parametrize(
    ("device", "visible", "used"),
    [
        ("auto", None, "0"),
        ("cuda:2", None, "2"),
        ("cuda:1", "4,GPU-5f3a", "GPU-5f3a"),
        ("auto", "", ""),
        ("cuda:1", "3", ""),
        ("cpu", "3", ""),
    ],
)
def test_a_run_sees_one_gpu_and_none_that_the_owner_hides(monkeypatch, device, visible, used):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    monkeypatch.setattr(os, "environ", environment)
    _prepare_process(SimpleNamespace(device=device))
    assert environment["CUDA_VISIBLE_DEVICES"] == used


@pytest.mark.parametrize(
    ("device", "visible", "order"),
    [("cuda:1", None, "PCI_BUS_ID"), ("cuda:1", "1,0", None), ("auto", None, None), ("cpu", None, None)],
)
def test_gpus_are_counted_as_nvidia_smi_counts_them(monkeypatch, device, visible, order):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    monkeypatch.setattr(os, "environ", environment)
    _prepare_process(SimpleNamespace(device=device))
    assert environment.get("CUDA_DEVICE_ORDER") == order


@pytest.mark.parametrize("rank", [None, "1"])
def test_a_share_of_the_memory_holds_on_the_gpu_of_this_very_process(monkeypatch, rank):
    limits = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *limit: limits.append(limit))
    if rank:
        monkeypatch.setenv("RANK", rank)
    limit_memory(Recipe("cuda", "bf16"), 0.5)
    assert limits == [(0.5, int(rank or 0))]


def test_a_run_on_the_processor_tells_no_gpu_memory():
    assert memory_peak(Recipe("cpu", "fp32")) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_tells_the_most_memory_that_it_held():
    held = torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")
    peak = memory_peak(Recipe("cuda", "fp32"))
    assert peak is not None
    assert peak >= held.numel()
