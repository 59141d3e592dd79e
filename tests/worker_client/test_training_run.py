"""The real child from spec.json to the model directory, for both tasks; stopped and resumed."""

import csv
import hashlib
import json
import re
from pathlib import Path

import openpyxl
import pytest
import torch
from safetensors import safe_open
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from tests.worker_client.training_factories import (
    TAGS,
    figures_of,
    log_of,
    make_spec,
    make_workspace,
    run_child,
    start_child,
    text_rows,
    token_rows,
    wait_for_training,
)
from worker_client.errors import ChildExit

pytestmark = pytest.mark.slow

MODEL_FILES = {
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
    "run.json",
    "metrics.json",
    "confusion_matrix.csv",
    "test_predictions.xlsx",
}


class Finished:
    """A run that went through: workspace, spec, outcome, model folder."""

    def __init__(self, folder: Path, rows, **changes):
        self.rows = rows
        self.spec = make_spec(folder, rows, **changes)
        self.workspace = make_workspace(folder, self.spec)
        self.code = run_child(self.workspace)
        self.outcome = self.workspace.read_outcome()
        self.folder = Path(self.spec.model_dir)

    def predictions(self):
        header, *rows = openpyxl.load_workbook(self.folder / "test_predictions.xlsx").active.values
        return [dict(zip(header, row, strict=True)) for row in rows]


ROWS = text_rows(240)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("text"), ROWS, hyperparameters={"epochs": 3})


@pytest.fixture(scope="module")
def token_run(tmp_path_factory):
    rows = [*token_rows(118), ("única " * 60 + "Maria Silva", "O " * 60 + "B-PESSOA I-PESSOA"), ("só isto", "O O")]
    return Finished(tmp_path_factory.mktemp("token"), rows, task="token_classification")


def test_a_text_run_completes_and_learns(text_run):
    assert (text_run.code, text_run.outcome.status) == (ChildExit.COMPLETED, "completed"), text_run.outcome.traceback
    metrics = text_run.outcome.metrics
    assert metrics["f1"] > metrics["baseline_f1"] + 0.2
    assert set(metrics) == {"loss", "accuracy", "precision", "recall", "f1", "baseline_f1", "baseline_accuracy"}


def test_the_model_directory_is_whole_and_holds_no_pickle(text_run):
    names = {path.name for path in text_run.folder.iterdir()}
    assert names >= MODEL_FILES
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert [path.name for path in text_run.folder.parent.iterdir()] == ["run-7"]


def test_the_pipeline_loads_the_directory_as_it_is(text_run):
    classify = pipeline("text-classification", model=str(text_run.folder))
    text, label = ROWS[0]
    assert classify(text)[0]["label"] == label
    assert classify("processo " * 3000, truncation=True)[0]["label"] in text_run.spec.labels
    assert classify.tokenizer.model_max_length == 32


def test_the_exported_model_gives_whoever_loads_it_the_probabilities_that_were_scored(text_run):
    tokenizer = AutoTokenizer.from_pretrained(text_run.folder)
    model = AutoModelForSequenceClassification.from_pretrained(text_run.folder)
    told = text_run.predictions()
    texts = [text_run.rows[row["row"] - 2][0] for row in told]
    with torch.inference_mode():
        logits = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits
    chances, best = logits.softmax(dim=-1).max(dim=-1)
    assert [row["predicted"] for row in told] == [model.config.id2label[at] for at in best.tolist()]
    assert [row["probability"] for row in told] == pytest.approx(chances.tolist(), abs=1e-5)


def test_the_exported_model_gives_whoever_loads_it_the_tags_that_were_scored(token_run):
    tokenizer = AutoTokenizer.from_pretrained(token_run.folder)
    model = AutoModelForTokenClassification.from_pretrained(token_run.folder)
    for row in token_run.predictions():
        words = token_run.rows[row["row"] - 2][0].split()
        batch = tokenizer(words, is_split_into_words=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            best = model(**batch).logits[0].argmax(dim=-1).tolist()
        of_word = batch.word_ids()
        firsts = [of_word.index(word) for word in sorted({word for word in of_word if word is not None})]
        tags = [model.config.id2label[best[at]] for at in firsts]
        assert row["predicted"].split() == tags + ["O"] * (len(words) - len(tags))


def test_nothing_of_how_it_was_trained_is_asked_of_who_loads_the_model(text_run):
    assert "packed" not in (text_run.folder / "config.json").read_text()


def test_the_outcome_names_the_weights_and_describes_the_machine(text_run):
    weights = (text_run.folder / "model.safetensors").read_bytes()
    assert text_run.outcome.model_sha256 == hashlib.sha256(weights).hexdigest()
    assert text_run.outcome.model_path == str(text_run.folder)
    told = {"precision": "fp32", "tf32": False, "batches": "packed", "cuda": None, "cpu_threads": 1}
    assert text_run.outcome.environment.items() >= told.items()
    sizes = text_run.outcome.report["split_sizes"]
    assert sum(sizes.values()) == len(ROWS)
    assert len(text_run.predictions()) == sizes["test"]


def test_saved_predictions_give_the_reported_f1(text_run):
    rows = text_run.predictions()
    gold, predicted = ([row[name] for row in rows] for name in ("gold", "predicted"))
    assert f1_score(gold, predicted, average="macro") == pytest.approx(text_run.outcome.metrics["f1"])
    assert {row["row"] for row in rows} <= set(range(2, len(ROWS) + 2))


def test_each_epoch_has_figures_of_training_and_validation_and_the_test_part_one(text_run):
    points = figures_of(text_run.workspace)
    assert [point["split"] for point in points] == ["train", "validation"] * 3 + ["test"]
    assert [point["epoch"] for point in points[:6]] == [1, 1, 2, 2, 3, 3]
    assert set(points[1]["values"]) == {"loss", "accuracy", "precision", "recall", "f1"}
    assert points[-1]["epoch"] == text_run.outcome.best_epoch
    assert points[-1]["values"] == pytest.approx(text_run.outcome.metrics)


def test_the_best_epoch_is_that_of_the_best_validation_f1(text_run):
    validation = [point for point in figures_of(text_run.workspace) if point["split"] == "validation"]
    best = max(validation, key=lambda point: (point["values"]["f1"], -point["values"]["loss"]))
    assert text_run.outcome.best_epoch == best["epoch"]


def test_the_log_tells_the_run_and_no_text_of_a_row(text_run):
    log = log_of(text_run.workspace)
    for told in (
        "240 rows: train",
        "Arquivado:",
        "precision fp32",
        "Epoch 1 of 3, validation",
        "Test part",
    ):
        assert told in log
    assert not [text for text, _ in ROWS if text in log]


def test_the_card_gives_origin_scores_and_a_snippet_that_truncates(text_run):
    card = (text_run.folder / "README.md").read_text()
    for told in (text_run.spec.dataset_sha256, "builtin/tiny-bert", "| Arquivado |", "truncation=True", "Limits"):
        assert told in card
    assert not [text for text, _ in ROWS if text in card]
    run = json.loads((text_run.folder / "run.json").read_text())
    assert run["hyperparameters"]["epochs"] == 3
    assert run["seed"] == 42


def test_a_token_run_completes_and_its_saved_tags_give_the_reported_f1(token_run):
    assert token_run.code == ChildExit.COMPLETED, token_run.outcome.traceback
    rows = token_run.predictions()
    gold, predicted = ([row[name].split() for row in rows] for name in ("gold", "predicted"))
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, average="micro", scheme=IOB2, zero_division=0
    )
    metrics = token_run.outcome.metrics
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == pytest.approx((precision, recall, f1), abs=1e-9)
    assert metrics["f1"] > 0.5
    assert metrics["baseline_f1"] == 0.0


def test_the_card_of_entities_counts_them_and_its_advice_for_long_texts_finds_the_last(token_run):
    card = (token_run.folder / "README.md").read_text()
    people = next(row for row in token_run.outcome.report["per_class"] if row["label"] == "PESSOA")
    assert f"{people['f1']:.4f} | {people['support']} |" in card
    assert "| label | precision | recall | f1 | entities |" in card
    stride = int(re.search(r"add stride=(\d+) for long texts", card)[1])
    find = pipeline("token-classification", model=str(token_run.folder), aggregation_strategy="first", stride=stride)
    text = "o processo foi ao juiz com vista " * 10 + "o juiz João Souza em Fortaleza hoje"
    assert max(entity["end"] for entity in find(text)) > len(text) - 20


def test_words_beyond_max_length_are_reported(token_run):
    assert sum(token_run.outcome.report["lost_words"].values()) > 0
    assert "words are not read at all" in log_of(token_run.workspace)


@pytest.mark.parametrize("finished", ["text_run", "token_run"])
def test_the_report_measures_every_row_uncut_by_the_tokenizer_of_the_base_model(finished, request):
    run = request.getfixturevalue(finished)
    tokenizer = AutoTokenizer.from_pretrained(run.folder)
    sizes = sorted(len(tokenizer(text.strip(), verbose=False)["input_ids"]) for text, _ in run.rows)
    told = run.outcome.report["token_lengths"]
    assert (told["tokenizer"], told["revision"], told["rows"]) == ("builtin/tiny-bert", "", len(run.rows))
    middle, ninth = sizes[(len(sizes) - 1) // 2], sizes[-(-len(sizes) * 9 // 10) - 1]
    assert [told[name] for name in ("min", "p50", "p90", "max")] == [sizes[0], middle, ninth, sizes[-1]]
    assert told["mean"] == pytest.approx(sum(sizes) / len(sizes), abs=0.05)
    assert told["beyond"][0] == {"max_length": 128, "rows": sum(size > 128 for size in sizes), "share": 0.0}
    assert f"longest {sizes[-1]}" in log_of(run.workspace)


def test_the_token_pipeline_loads_the_directory_as_it_is(token_run):
    find = pipeline("token-classification", model=str(token_run.folder), aggregation_strategy="first")
    found = {entity["entity_group"] for entity in find("o juiz João Souza em Fortaleza hoje")}
    assert found <= {"PESSOA", "LOCAL"}
    assert found
    assert list(find.model.config.id2label.values()) == TAGS


def test_a_run_that_is_stopped_and_resumed_gives_the_weights_of_an_uninterrupted_one(text_run, tmp_path):
    spec = make_spec(tmp_path, ROWS, hyperparameters={"epochs": 3})
    first = make_workspace(tmp_path, spec)
    child = start_child(first)
    wait_for_training(first)
    first.request_stop("shutdown")
    assert child.wait(timeout=120) == ChildExit.STOPPED
    assert (first.read_outcome().status, first.read_outcome().reason) == ("stopped", "shutdown")
    assert not Path(spec.model_dir).exists()
    (checkpoint,) = Path(spec.checkpoints_dir).glob("checkpoint-*")
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] < 72

    second = make_workspace(tmp_path, spec, attempt=2)
    assert run_child(second) == ChildExit.COMPLETED
    assert "Going on from the checkpoint" in log_of(second)
    assert second.read_outcome().model_sha256 == text_run.outcome.model_sha256
    assert figures_of(second)[1]["values"] == figures_of(text_run.workspace)[1]["values"]


def test_weights_are_stored_in_full_precision(text_run):
    with safe_open(text_run.folder / "model.safetensors", "pt") as weights:
        assert {str(weights.get_slice(name).get_dtype()) for name in weights.keys()} == {"F32"}  # noqa: SIM118


def test_with_many_labels_the_folder_has_the_confusion_matrix_and_the_server_only_its_labels(tmp_path):
    labels = [f"assunto {number:04}" for number in range(1_200)]
    rows = [(f"{label} processo {copy}", label) for label in labels for copy in range(3)]
    spec = make_spec(tmp_path, rows, labels=labels, hyperparameters={"epochs": 1, "batch_size": 512, "max_length": 12})
    workspace = make_workspace(tmp_path, spec)
    assert run_child(workspace) == 0
    outcome = workspace.read_outcome()
    assert len(json.dumps(outcome.report)) < 1_000_000, "the server keeps 4 MB"
    assert outcome.report["confusion_matrix"] == {"labels": labels, "counts": []}
    folder = Path(spec.model_dir)
    with (folder / "confusion_matrix.csv").open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert (header[1:], [row[0] for row in rows]) == (labels, labels)
    sizes = outcome.report["split_sizes"]
    assert sum(int(count) for row in rows for count in row[1:]) == sizes["test"]
    assert (folder / "metrics.json").stat().st_size < 1_000_000
