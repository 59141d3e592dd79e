"""From a sheet to a model, through the server and a worker as they run in an office."""

import json
from pathlib import Path

import openpyxl
import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from transformers import pipeline

from tests.end_to_end.site import SAMPLES, Site

pytestmark = pytest.mark.slow

FILES = {
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


def test_a_sheet_of_texts_becomes_a_classifier_that_transformers_loads(site: Site) -> None:
    dataset = site.upload(SAMPLES / "andamentos_train.xlsx")
    run_id = site.queue_run(dataset, epochs=2, learning_rate=8e-4, batch_size=32, max_length=64)
    worker = site.start_worker("gpu-1", "--once")
    [run] = site.wait_for_runs([run_id], seconds=300)

    assert run["status"] == "completed", run["error"]
    assert run["metrics"]["f1"] > run["metrics"]["baseline_f1"] + 0.2
    folder = Path(run["model_path"])
    assert folder == site.models_dir("gpu-1") / f"run-{run_id}"
    assert {path.name for path in folder.iterdir()} >= FILES
    labels = {label["name"] for label in dataset["labels"]}
    assert set(json.loads((folder / "config.json").read_text())["id2label"].values()) == labels
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    assert classify("Arquivado definitivamente", truncation=True)[0]["label"] in labels
    assert worker.wait(60) == 0


@pytest.mark.any_database
def test_a_sheet_of_entities_becomes_a_recogniser_scored_as_seqeval_does(site: Site) -> None:
    dataset = site.upload(SAMPLES / "sample_ner.xlsx")
    run_id = site.queue_run(
        dataset, epochs=8, early_stopping_patience=0, learning_rate=1e-3, batch_size=4, max_length=128
    )
    site.start_worker("gpu-1", "--once")
    [run] = site.wait_for_runs([run_id], seconds=300)

    assert run["status"] == "completed", run["error"]
    validated = [point for point in site.get(f"/runs/{run_id}/metrics")["results"] if point["split"] == "validation"]
    assert [point["epoch"] for point in validated] == list(range(1, 9))
    assert all("f1" in point["values"] for point in validated)
    folder = Path(run["model_path"])
    gold, predicted = _tags(folder / "test_predictions.xlsx")
    assert run["metrics"]["f1"] > 0
    assert run["metrics"]["f1"] == pytest.approx(f1_score(gold, predicted, mode="strict", scheme=IOB2), abs=1e-9)
    find = pipeline("token-classification", model=str(folder), aggregation_strategy="first", device="cpu")
    assert isinstance(find("O Tribunal de Justiça de Mato Grosso do Sul decidiu."), list)


def _tags(path: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Gold and predicted tags, row by row."""
    rows = list(openpyxl.load_workbook(path, read_only=True).active.values)
    gold, predicted = (rows[0].index(name) for name in ("gold", "predicted"))
    return [row[gold].split() for row in rows[1:]], [row[predicted].split() for row in rows[1:]]
