"""Whole sheets in, whole sheets out: every row in its place, long texts read to their end, nothing executed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest
import torch

from tests.worker_client.training_factories import (
    SIGNS,
    make_sheet,
    make_spec,
    make_workspace,
    run_child,
    text_rows,
    token_rows,
)
from worker_client.formats import Record
from worker_client.training import environment, inference, packing, prediction, scoring
from worker_client.training.inference import Predictor
from worker_client.training.prediction import main
from worker_client.training.scoring import answers

pytestmark = pytest.mark.slow


def train(folder: Path, rows, **changes) -> Path:
    spec = make_spec(folder, rows, **changes)
    assert run_child(make_workspace(folder, spec)) == 0
    return Path(spec.model_dir)


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("text"), text_rows(240), hyperparameters={"epochs": 6, "learning_rate": 1e-3})


@pytest.fixture(scope="module")
def token_model(tmp_path_factory):
    return train(tmp_path_factory.mktemp("token"), token_rows(120), task="token_classification")


def predict(model, sheet, *more):
    """Exit code and the output's sheets as lists of dicts."""
    output = sheet.with_name("out.xlsx")
    code = main(["--model", str(model), "--input", str(sheet), "--output", str(output), *more])
    if code:
        return code, {}
    book = openpyxl.load_workbook(output)
    sheets = {}
    for name in book.sheetnames:
        header, *rows = book[name].values
        sheets[name] = [dict(zip(header, row, strict=True)) for row in rows]
    return code, sheets


def test_every_row_is_predicted_in_its_place_and_blank_ones_stay_blank(text_model, tmp_path, capsys):
    rows = [(7, "autos arquivado"), (8, None), (9, "suspenso pelo juiz"), (10, "  "), (11, "conclusos para despacho")]
    sheet = make_sheet(tmp_path / "in.xlsx", ["id", "Texto"], rows)
    code, sheets = predict(text_model, sheet)
    found = sheets["predictions"]
    assert code == 0
    assert [row["id"] for row in found] == ["7", "8", "9", "10", "11"]
    assert [row["predicted"] for row in found] == ["Arquivado", None, "Suspenso", None, "Ativo"]
    assert found[1]["probability"] is None
    assert "3 rows predicted, 2 left blank in" in capsys.readouterr().out
    assert found[0]["probability"] == found[0]["Arquivado"]
    assert sum(found[0][label] for label in ("Arquivado", "Ativo", "Suspenso")) == pytest.approx(1, abs=1e-4)


def test_a_sheet_without_labels_or_with_them_gives_the_same(text_model, tmp_path):
    rows = text_rows(30, seed=5)
    labelled = make_sheet(tmp_path / "a.xlsx", ["text", "label"], rows)
    bare = make_sheet(tmp_path / "b.xlsx", ["text"], [(text,) for text, _ in rows])
    first = predict(text_model, labelled)[1]["predictions"]
    assert first == predict(text_model, bare)[1]["predictions"]
    assert sum(row["predicted"] == label for row, (_, label) in zip(first, rows, strict=True)) > 25


@pytest.mark.parametrize("sign", ["=1+1", "+55 85", "-x", "@SUM(A1)"])
def test_a_text_that_looks_like_a_formula_stays_a_text(text_model, tmp_path, sign):
    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [(f"{sign} arquivado",)])
    predict(text_model, sheet)
    cell = openpyxl.load_workbook(tmp_path / "out.xlsx")["predictions"]["C2"]
    assert (cell.value, cell.data_type) == (f"{sign} arquivado", "s")


def test_the_order_of_rows_and_the_batch_size_do_not_change_a_prediction(text_model, tmp_path):
    rows = [(text,) for text, _ in text_rows(40, seed=9, words=3)] + [(text,) for text, _ in text_rows(9, words=60)]
    there = predict(text_model, make_sheet(tmp_path / "a.xlsx", ["text"], rows), "--batch-size", "3")[1]["predictions"]
    back = predict(text_model, make_sheet(tmp_path / "b.xlsx", ["text"], rows[::-1]))[1]["predictions"]
    for one, other in zip(there, back[::-1], strict=True):
        assert one["predicted"] == other["predicted"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)


def test_a_long_text_is_read_to_its_end(text_model):
    """The model read 32 sub-tokens in training; windows show it what stands behind them."""
    predictor = Predictor(text_model, device="cpu", batch_size=8)
    filler = "o processo da parte " * 20
    bare = predictor.predict([Record(2, text=filler)]).probabilities[0]
    # What the filler alone is taken for is chance: the words behind it must be of another class.
    other = min(SIGNS, key=lambda name: bare[predictor.task.ids[name]])
    whole = predictor.predict([Record(3, text=filler + " ".join(SIGNS[other] * 12))]).probabilities[0]
    assert whole[predictor.task.ids[other]] > bare[predictor.task.ids[other]] + 0.2


def test_words_are_tagged_and_entities_listed(token_model, tmp_path):
    sheet = make_sheet(tmp_path / "in.xlsx", ["tokens"], [("o juiz João Souza em Fortaleza hoje",), (None,)])
    _, sheets = predict(token_model, sheet)
    assert len(sheets["predictions"][0]["tags"].split()) == 7
    person = {"row": 2, "type": "PESSOA", "text": "João Souza", "start_word": 3, "end_word": 4}
    assert person in sheets["entities"]


def test_every_word_of_a_long_row_is_tagged_exactly_once(token_model, tmp_path):
    tokens = " ".join(text for text, _ in token_rows(40, seed=8))
    _, sheets = predict(token_model, make_sheet(tmp_path / "in.xlsx", ["tokens"], [(tokens,)]))
    (row,) = sheets["predictions"]
    assert row["tokens"] == tokens
    assert len(row["tags"].split()) == len(tokens.split())
    people = [entity for entity in sheets["entities"] if entity["type"] == "PESSOA"]
    assert len(people) > 30
    starts = [entity["start_word"] for entity in people]
    assert max(starts) > 300
    assert len(set(starts)) == len(starts)


def test_predicted_tags_can_be_imported_again(token_model, tmp_path):
    from worker_client.formats import RowFault, read_records

    sheet = make_sheet(tmp_path / "in.xlsx", ["tokens"], [(text,) for text, _ in token_rows(40, seed=3)])
    predict(token_model, sheet)
    again = list(read_records(tmp_path / "out.xlsx", task_type="token_classification", sheet="predictions", columns={}))
    assert len(again) == 40
    assert not [item for item in again if isinstance(item, RowFault)]


@pytest.mark.parametrize("tokens", [("Maria da Silva", "mora", "em São Paulo"), ("[", "'a'", "]")])
def test_words_that_hold_blanks_or_look_like_a_list_come_back_as_the_same_words(token_model, tmp_path, tokens):
    from worker_client.formats import read_records

    sheet = make_sheet(tmp_path / "in.xlsx", ["tokens"], [(json.dumps(tokens),)])
    predict(token_model, sheet)
    (row,) = read_records(tmp_path / "out.xlsx", task_type="token_classification", sheet="predictions", columns={})
    assert row.tokens == tokens


def test_texts_of_several_windows_get_the_answers_that_the_run_was_scored_by(tmp_path):
    rows = text_rows(60, words=90)
    model = train(tmp_path, rows, hyperparameters={"epochs": 1, "long_text": "windows", "window_stride": 3})
    header, *scored = openpyxl.load_workbook(model / "test_predictions.xlsx").active.values
    scored = {row[0]: row[header.index("probability")] for row in scored}
    _, sheets = predict(model, tmp_path / "sheet.xlsx", "--device", "cpu")
    found = {row["row"]: row["probability"] for row in sheets["predictions"] if row["row"] in scored}
    assert found == pytest.approx(scored, abs=1e-5)


@pytest.mark.parametrize(
    ("trained_in", "answers_in"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16)],
)
def test_a_model_answers_in_the_precision_that_it_was_scored_in_where_the_machine_does_that_well(
    text_model, tmp_path, monkeypatch, trained_in, answers_in
):
    monkeypatch.setattr(environment, "_bf16_pays", lambda: True)
    monkeypatch.setattr(packing, "_text_by_text", noted := Noted(packing._text_by_text))
    model = shutil.copytree(text_model, tmp_path / "model")
    run = json.loads((model / "run.json").read_text())
    run["environment"]["precision"] = trained_in
    (model / "run.json").write_text(json.dumps(run))
    predictor = Predictor(model, device="cpu", batch_size=8)
    predictor.predict([Record(2, text="autos arquivado")])
    noted.types.clear()  # of the trial that decides whether texts are packed
    predictor.predict([Record(2, text="autos arquivado")])
    assert noted.types == {answers_in}


class Noted:
    """Attention that knows the types of its numbers."""

    def __init__(self, attention):
        self.attention, self.types = attention, set()

    def __call__(self, query, *rest):
        self.types.add(query.dtype)
        return self.attention(query, *rest)


def test_another_column_and_sheet_can_be_named(text_model, tmp_path):
    sheet = make_sheet(tmp_path / "in.xlsx", ["Ementa"], [("baixa definitiva",)])
    code, sheets = predict(text_model, sheet, "--column", "ementa", "--sheet", "dados")
    assert (code, len(sheets["predictions"])) == (0, 1)


def refusal(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_what_cannot_be_done_is_one_clear_line(text_model, tmp_path, capsys):
    sheet = make_sheet(tmp_path / "in.xlsx", ["Ementa"], [("baixa",)])
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"no sheet")
    out = tmp_path / "out.xlsx"
    model, empty = text_model, tmp_path / "empty"
    empty.mkdir()
    for arguments, told in [
        (["--model", empty / "gone", "--input", sheet, "--output", out], "no model directory"),
        (["--model", empty, "--input", sheet, "--output", out], "is missing"),
        (["--model", model, "--input", tmp_path / "gone.xlsx", "--output", out], "no file"),
        (["--model", model, "--input", broken, "--output", out], "error"),
        (["--model", model, "--input", sheet, "--output", out], "columns found: Ementa"),
        (["--model", model, "--input", sheet, "--output", out], "--column"),
        (["--model", model, "--input", sheet, "--output", out, "--sheet", "outra"], "outra"),
        (["--model", model, "--input", sheet, "--output", sheet], "is the input"),
        (["--model", model, "--input", sheet, "--output", tmp_path / "no" / "out.xlsx"], "no folder"),
        (["--model", model, "--input", sheet, "--output", empty], "is a folder"),
    ]:
        assert told in refusal(capsys, *arguments)
    assert not out.exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "run.json"])
def test_a_model_that_was_copied_in_half_is_one_clear_line(text_model, tmp_path, capsys, name):
    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [("baixa",)])
    half = shutil.copytree(text_model, tmp_path / "half")
    (half / name).write_bytes((half / name).read_bytes()[:60])
    arguments = ["--model", half, "--input", sheet, "--output", tmp_path / "out.xlsx"]
    assert "half" in refusal(capsys, *arguments)


@pytest.mark.parametrize(("gpus", "told"), [(0, "no CUDA GPU"), (2, "2 CUDA GPUs")])
def test_a_gpu_that_is_not_there_is_one_clear_line(text_model, tmp_path, capsys, monkeypatch, gpus, told):
    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [("baixa",)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    arguments = ["--model", text_model, "--input", sheet, "--output", tmp_path / "out.xlsx", "--device", "cuda:2"]
    assert told in refusal(capsys, *arguments)


def fits(rows):
    """In the place of the memory: scoring with room for so many inputs at once."""

    def scored(model, task, features, layout, **options):
        if options["rows"] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return answers(model, task, features, layout, **options)

    return scored


def test_what_does_not_fit_is_tried_with_fewer_inputs_at_once(text_model, tmp_path, monkeypatch, caplog):
    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [(f"sentença número {at}",) for at in range(40)])
    at_once = predict(text_model, sheet)[1]["predictions"]
    monkeypatch.setattr(inference, "answers", fits(5))
    for row, before in zip(predict(text_model, sheet)[1]["predictions"], at_once, strict=True):
        assert (row["text"], row["predicted"]) == (before["text"], before["predicted"])
        assert row["probability"] == pytest.approx(before["probability"], abs=1e-4)
    assert "Out of memory: going on with 4 inputs at a time instead of 8" in caplog.messages


def test_inputs_that_a_processors_cache_has_already_made_fewer_are_not_tried_again(text_model, tmp_path, monkeypatch):
    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [(f"sentença número {at}",) for at in range(40)])
    monkeypatch.setattr(scoring, "CACHED_TOKENS", 1)  # one at a time
    monkeypatch.setattr(inference, "answers", fits(5))
    assert predict(text_model, sheet)[0] == 1


def test_want_of_memory_for_one_input_is_one_line_that_says_what_to_try(text_model, tmp_path, capsys, monkeypatch):
    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [("baixa",)])
    monkeypatch.setattr(inference, "answers", fits(0))
    arguments = ["--model", text_model, "--input", sheet, "--output", tmp_path / "out.xlsx"]
    assert "end other programs" in refusal(capsys, *arguments, "--device", "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "try --device cpu" in refusal(capsys, *arguments, "--device", "auto")


def test_an_output_that_cannot_be_written_leaves_nothing_behind(text_model, tmp_path, capsys, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [("baixa",)])
    monkeypatch.setattr(Path, "replace", full)
    arguments = ["--model", text_model, "--input", sheet, "--output", tmp_path / "out.xlsx"]
    assert "No space left" in refusal(capsys, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["in.xlsx"]


def test_the_command_runs_as_a_module(text_model, tmp_path):
    sheet = make_sheet(tmp_path / "in.xlsx", ["text"], [("baixa definitiva",)] * 3)
    command = [sys.executable, "-m", "worker_client.training.prediction", "--model", str(text_model)]
    command += ["--input", str(sheet), "--output", str(tmp_path / "out.xlsx"), "--device", "cpu"]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "3 rows predicted" in done.stdout


def test_progress_is_said_while_it_goes_on(text_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prediction, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(prediction, "CHUNK_ROWS", 10)
    predict(text_model, make_sheet(tmp_path / "in.xlsx", ["text"], [("baixa",)] * 25))
    assert [line.split(" rows")[0] for line in capsys.readouterr().out.splitlines()] == ["10", "20", "25", "25"]
