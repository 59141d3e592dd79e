"""Where memory is short: the exact way down, the evaluation by itself, and what a person is told."""

import errno
import platform
from dataclasses import replace
from unittest.mock import Mock

import psutil
import pytest
import torch
import transformers
from transformers import AlbertConfig, AlbertForMaskedLM

from tests.worker_client.training_factories import SIGNS, calm_base, log_of, make_spec, make_workspace, text_rows
from worker_client.errors import ChildExit, OutOfMemory
from worker_client.formats import Record
from worker_client.memory import Fit
from worker_client.protocol import FakeMemory, Outcome
from worker_client.spool import Spool
from worker_client.training import attempt, memory, scoring
from worker_client.training.__main__ import main
from worker_client.training.base_models import _tiny_tokenizer
from worker_client.training.memory import Memory
from worker_client.training.tasks import task_for
from worker_client.workspace import Workspace

ROWS = text_rows(80)  # 64 to train: with a batch of 64 an epoch is one step
LIKE = {"batch_size": 64, "epochs": 3, "early_stopping_patience": 0}


def climb_down(folder, spec, limit):
    """The ladder as the parent climbs it, with the child in this process. Returns outcomes, the last is the end."""
    fit, outcomes = Fit(), []
    while fit is not None:
        fitted = replace(fit.applied_to(spec), fake_memory=limit)
        workspace = make_workspace(folder, fitted)
        main([str(workspace.root)])
        outcomes.append(workspace.read_outcome())
        fit = fit.after(outcomes[-1], fitted)
    return outcomes, workspace


def events_of(workspace, kind):
    spool = Spool(workspace.spool_path)
    told = [event["details"] for event in spool.next_events() if event["kind"] == kind]
    spool.close()
    return told


@pytest.mark.slow
@pytest.mark.parametrize("fits", [32, 16, 8, 4, 2, 1])
def test_memory_that_runs_out_at_the_second_step_leads_down_to_what_fits(tmp_path, fits):
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE)
    outcomes, workspace = climb_down(tmp_path, spec, FakeMemory(rows=fits, from_step=2))
    tried = [outcome.memory["device_batch_size"] for outcome in outcomes[:-1]]
    assert tried == [size for size in (64, 32, 16, 8, 4, 2, 1) if size > fits]
    described = outcomes[-1].environment
    assert (described["device_batch_size"], described["gradient_accumulation"]) == (fits, 64 // fits)
    assert [told["step"] for told in events_of(workspace, "resumed")] == [1] * len(tried)


@pytest.mark.slow
def test_below_one_row_only_gradient_checkpointing_is_left(tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={**LIKE, "batch_size": 2, "epochs": 1})
    outcomes, _ = climb_down(tmp_path, spec, FakeMemory(rows=0.5))
    assert [outcome.memory.get("device_batch_size") for outcome in outcomes] == [2, 1, None]
    assert outcomes[-1].status == "completed"
    assert outcomes[-1].environment["gradient_checkpointing"] is True


@pytest.fixture
def albert(tmp_path):
    """A base model of a family that cannot recompute."""
    folder = tmp_path / "albert"
    records = [Record(at, text=text, label=label) for at, (text, label) in enumerate(ROWS, start=2)]
    tokenizer = _tiny_tokenizer(task_for("text_classification", list(SIGNS)), records)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = AlbertConfig(vocab_size=len(tokenizer), embedding_size=8, max_position_embeddings=40, **small)
    AlbertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"base_model": "some/albert", "base_model_dir": str(folder)}


@pytest.mark.slow
def test_gradient_checkpointing_that_a_base_model_cannot_do_is_left_out(tmp_path, albert):
    like = {**LIKE, "batch_size": 2, "epochs": 1, "gradient_checkpointing": True}
    outcomes, workspace = climb_down(tmp_path, make_spec(tmp_path, ROWS, hyperparameters=like, **albert), FakeMemory())
    assert outcomes[-1].environment["gradient_checkpointing"] is False
    assert "has none for albert models" in log_of(workspace)


@pytest.mark.slow
def test_a_base_model_without_gradient_checkpointing_that_never_fits_is_told_so(tmp_path, albert):
    like = {**LIKE, "batch_size": 2, "epochs": 1}
    spec = make_spec(tmp_path, ROWS, hyperparameters=like, **albert)
    outcomes, _ = climb_down(tmp_path, spec, FakeMemory(rows=0))
    assert outcomes[-1].reason == "out_of_memory"
    assert "gradient_checkpointing" not in outcomes[-1].message


@pytest.mark.slow
def test_what_never_fits_fails_with_numbers_and_advice(tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={**LIKE, "batch_size": 2, "epochs": 1})
    outcomes, _ = climb_down(tmp_path, spec, FakeMemory(rows=0))
    assert len(outcomes) == 3
    assert outcomes[-1].reason == "out_of_memory"
    message = outcomes[-1].message
    assert "1 row of up to 32 sub-tokens at once in the training, with gradient checkpointing" in message
    assert "Lower max_length (16 instead of 32 halves what a row takes), or take a smaller base model." in message


@pytest.mark.slow
def test_an_evaluation_that_does_not_fit_halves_its_own_batch_and_nothing_else(tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={**LIKE, "batch_size": 8, "epochs": 1})
    whole = make_workspace(tmp_path / "whole", replace(spec, checkpoints_dir=str(tmp_path / "whole/checkpoints")))
    assert main([str(whole.root)]) == ChildExit.COMPLETED
    workspace = make_workspace(tmp_path, replace(spec, fake_memory=FakeMemory(eval_rows=4)))
    assert main([str(workspace.root)]) == ChildExit.COMPLETED
    assert [event["to"] for event in events_of(workspace, "eval_batch_halved")] == [16, 8, 4]
    ours, theirs = workspace.read_outcome(), whole.read_outcome()
    assert ours.environment["device_batch_size"] == 8
    assert ours.environment["eval_batch_size"] == 4
    assert ours.metrics == pytest.approx(theirs.metrics, abs=1e-5)
    assert Fit.read(workspace.memory_path) == Fit(eval_batch_size=4)
    assert workspace.read_tried() == {"device_batch_size": 8, "eval_batch_size": 4}
    assert whole.read_tried() == {"device_batch_size": 8}


@pytest.mark.slow
def test_rows_that_a_processors_cache_has_already_made_fewer_are_not_tried_again_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "CACHED_TOKENS", 1)  # one at a time
    spec = make_spec(tmp_path, ROWS, hyperparameters={**LIKE, "batch_size": 8, "epochs": 1})
    outcomes, workspace = climb_down(tmp_path, spec, FakeMemory(eval_rows=4))
    assert "1 row of up to 32 sub-tokens at once in the evaluation." in outcomes[0].message
    assert events_of(workspace, "eval_batch_halved") == []


@pytest.mark.slow
def test_an_evaluation_of_one_row_that_does_not_fit_says_so_and_is_not_tried_with_a_smaller_training_batch(tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={**LIKE, "batch_size": 2, "epochs": 1})
    outcomes, workspace = climb_down(tmp_path, spec, FakeMemory(eval_rows=0))
    assert len(outcomes) == 1
    assert outcomes[0].memory["during"] == "evaluation"
    assert "1 row of up to 32 sub-tokens at once in the evaluation." in outcomes[0].message
    assert "Out of memory in the evaluation" in log_of(workspace)


@pytest.mark.slow
def test_without_dropout_the_loss_of_each_step_is_that_of_the_whole_batch(tmp_path, monkeypatch):
    from worker_client.training import callbacks

    monkeypatch.setattr(callbacks, "LOSS_LINE_EVERY_S", 0.0)  # a loss at every step
    losses: dict[str, list[float]] = {"whole": [], "split": []}
    on_log = callbacks.Telemetry.on_log

    def listen(self, args, state, control, logs, **kwargs):
        if "loss" in logs:
            losses[current].append(logs["loss"])
        return on_log(self, args, state, control, logs, **kwargs)

    monkeypatch.setattr(callbacks.Telemetry, "on_log", listen)
    rows = text_rows(200)  # 160 to train: steps of 64, 64 and 32 rows
    for current, limit in (("whole", FakeMemory()), ("split", FakeMemory(rows=16))):
        folder = tmp_path / current
        spec = make_spec(
            folder, rows, hyperparameters=LIKE, base_model="org/calm", base_model_dir=calm_base(folder, rows)
        )
        outcomes, _ = climb_down(folder, spec, limit)
        assert outcomes[-1].status == "completed", outcomes[-1].traceback
    assert len(losses["whole"]) == 9
    assert losses["split"] == pytest.approx(losses["whole"], abs=1e-4)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems give it back by themselves")
@pytest.mark.parametrize(("every_s", "event"), [(60.0, "on_epoch_end"), (0.0, "on_step_end")])
def test_memory_that_was_freed_between_what_is_kept_goes_back_to_the_system(every_s, event, monkeypatch):
    monkeypatch.setattr(memory, "GIVE_BACK_EVERY_S", every_s)
    blocks = [bytes([at % 255 + 1]) * 60_000 for at in range(4_000)]  # 240 MB
    del blocks[::2], blocks[::2], blocks[::2]
    before = psutil.Process().memory_info().rss
    getattr(memory.GiveBack(), event)(None, None, None)
    assert before - psutil.Process().memory_info().rss > 100e6
    assert len(blocks) == 500


def test_within_an_epoch_memory_is_kept_for_a_while(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "_trim_of_glibc", lambda: asked.append)
    giving = memory.GiveBack()
    for _step in range(10):
        giving.on_step_end(None, None, None)
    assert asked == []


def test_a_model_that_does_not_fit_by_itself_is_told_with_its_size(tmp_path):
    short = Memory(
        model=torch.nn.Linear(1_000, 10_000),
        device="cpu",
        max_length=512,
        recomputes=False,
        note=lambda *_, **__: None,
        workspace=Workspace(tmp_path),
    )
    failure = short.failure("loading")
    assert isinstance(failure, OutOfMemory)
    assert "10 million parameters takes about 0.2 GB before the first row" in failure.message
    assert Fit().after(Outcome("failed", reason=failure.reason, memory=failure.facts), None) is None


NO_ROOM = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("unable to mmap 436347736 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
]


@pytest.mark.parametrize("what", ["AutoTokenizer", "AutoModelForSequenceClassification"])
@pytest.mark.parametrize("problem", NO_ROOM, ids=lambda problem: type(problem).__name__)
def test_a_base_model_that_finds_no_room_is_not_told_to_be_damaged(tmp_path, albert, monkeypatch, what, problem):
    monkeypatch.setattr(getattr(transformers, what), "from_pretrained", Mock(side_effect=problem))
    spec = make_spec(tmp_path, ROWS, hyperparameters=LIKE, **albert)
    outcomes, _ = climb_down(tmp_path, spec, None)
    assert [(outcome.reason, outcome.memory) for outcome in outcomes] == [("out_of_memory", {"during": "loading"})]


def test_rows_that_find_no_room_are_not_tried_again_in_smaller_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(attempt, "load_records", Mock(side_effect=MemoryError))
    outcomes, _ = climb_down(tmp_path, make_spec(tmp_path, ROWS, hyperparameters=LIKE), None)
    assert [outcome.memory for outcome in outcomes] == [{"during": "loading"}]
    assert outcomes[0].message.startswith("The memory was not enough to load the sheet and the base model.")


def test_what_fitted_is_read_back_and_anything_else_is_nothing(tmp_path):
    path = tmp_path / "memory.json"
    fit = Fit(device_batch_size=4, eval_batch_size=2, gradient_checkpointing=True)
    fit.write(path)
    assert Fit.read(path) == fit
    for damage in ("", "[]", '{"device_batch": 3}', "\x00"):
        path.write_text(damage)
        assert Fit.read(path) == Fit()


def test_a_death_without_a_word_goes_down_from_what_the_child_noted(tmp_path):
    spec = make_spec(tmp_path, [], hyperparameters={"batch_size": 16})
    died = Outcome("failed", reason="out_of_memory", memory={"device_batch_size": 4, "eval_batch_size": 2})
    assert Fit().after(died, spec) == Fit(device_batch_size=2, eval_batch_size=2)


@pytest.mark.parametrize(
    ("processes", "told", "half"), [(1, None, 8), (2, None, 4), (4, None, 2), (4, 16, 2), (2, 4, 2), (16, None, 1)]
)
def test_without_even_a_note_no_size_is_tried_that_every_process_has_had(tmp_path, processes, told, half):
    spec = make_spec(tmp_path, [], hyperparameters={"batch_size": 16}, processes=processes, device_batch_size=told)
    smaller = Fit().after(Outcome("failed", reason="out_of_memory"), spec)
    assert smaller.device_batch_size == half
