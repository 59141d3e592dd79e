"""Base models: whose copy is used, and what is fetched from the hub."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from worker_client import cache, hub
from worker_client.cache import BaseModels
from worker_client.errors import ChildExit, FailureReason, Stopped, TrainingFailed
from worker_client.workspace import Workspace

NAME = "neuralmind/bert-base-portuguese-cased"


@pytest.fixture
def attempt(tmp_path):
    return SimpleNamespace(workspace=Workspace.create(tmp_path, 1, 1), check=lambda: None)


@pytest.fixture
def models(tmp_path) -> BaseModels:
    return BaseModels(own_dir=tmp_path / "own", cache_dir=tmp_path / "cache", offline=False)


def put(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def fake_hub(monkeypatch, tmp_path, program: str) -> None:
    """A hub child that does as the program says; sys.argv is NAME REVISION FOLDER."""
    script = tmp_path / "hub_child.py"
    script.write_text(program)
    monkeypatch.setattr(cache, "HUB_COMMAND", (cache.sys.executable, str(script)))


def test_the_builtin_model_needs_no_folder(models, attempt):
    assert models.folder_of("builtin/tiny-bert", "", attempt=attempt) is None


def test_the_operator_s_own_copy_is_used_first(models, attempt, tmp_path):
    own = put(tmp_path / "own" / NAME)
    put(tmp_path / "cache" / NAME / "abc")
    assert models.folder_of(NAME, "abc", attempt=attempt) == own


def test_a_model_without_an_organisation_is_found(models, attempt, tmp_path):
    own = put(tmp_path / "own/bert-base-multilingual-cased")
    assert models.folder_of("bert-base-multilingual-cased", "", attempt=attempt) == own


def test_a_fetched_model_is_used_again_for_its_revision_only(models, attempt, tmp_path, monkeypatch):
    cached = put(tmp_path / "cache" / NAME / "abc")
    fake_hub(monkeypatch, tmp_path, "raise SystemExit('no hub here')")
    assert models.folder_of(NAME, "abc", attempt=attempt) == cached
    with pytest.raises(TrainingFailed):
        models.folder_of(NAME, "def", attempt=attempt)


def test_a_fetched_model_appears_whole(models, attempt, tmp_path, monkeypatch):
    fake_hub(
        monkeypatch,
        tmp_path,
        "import sys, pathlib; folder = pathlib.Path(sys.argv[3]); (folder / '.cache').mkdir();"
        "(folder / 'config.json').write_text('{}')",
    )
    folder = models.folder_of(NAME, "abc", attempt=attempt)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["abc"]


def test_a_fetched_model_is_on_the_disk_itself_before_it_appears(models, attempt, tmp_path, monkeypatch):
    write = "folder = pathlib.Path(sys.argv[3]); [(folder / n).write_text('{}') for n in ('config.json', 'weights')]"
    fake_hub(monkeypatch, tmp_path, f"import sys, pathlib; {write}")
    flushed = []
    monkeypatch.setattr(cache, "flush_to_disk", lambda path: flushed.append((path.name, path.parent.suffix)))
    models.folder_of(NAME, "abc", attempt=attempt)
    assert sorted(flushed) == [("config.json", ".part"), ("weights", ".part")]


def test_a_failed_fetch_is_told_by_the_hub_s_last_line(models, attempt, tmp_path, monkeypatch):
    fake_hub(monkeypatch, tmp_path, "import sys; print('warning'); sys.exit('RepositoryNotFoundError: 404')")
    with pytest.raises(TrainingFailed, match="RepositoryNotFoundError: 404") as caught:
        models.folder_of(NAME, "", attempt=attempt)
    assert caught.value.reason == FailureReason.BASE_MODEL_UNAVAILABLE


def test_a_disk_that_fills_up_in_a_fetch_is_named(models, attempt, tmp_path, monkeypatch):
    fake_hub(monkeypatch, tmp_path, f"import sys; sys.exit({int(ChildExit.DISK_FULL)})")
    with pytest.raises(TrainingFailed) as caught:
        models.folder_of(NAME, "", attempt=attempt)
    assert caught.value.reason == FailureReason.DISK_FULL


def test_a_cancel_ends_a_fetch(models, attempt, tmp_path, monkeypatch):
    fake_hub(monkeypatch, tmp_path, "import time; time.sleep(60)")

    def cancelled():
        raise Stopped("cancelled")

    attempt.check = cancelled
    with pytest.raises(Stopped):
        models.folder_of(NAME, "", attempt=attempt)


def test_offline_never_asks_the_hub(attempt, tmp_path):
    models = BaseModels(own_dir=None, cache_dir=tmp_path / "cache", offline=True)
    with pytest.raises(TrainingFailed, match="--offline"):
        models.folder_of(NAME, "", attempt=attempt)


@pytest.mark.parametrize("name", ["../../etc", "a/../../b", "/etc/passwd", "a/b/c", "", "a\\b", "-x/y"])
def test_a_name_that_leaves_the_folder_is_refused(models, attempt, name):
    with pytest.raises(TrainingFailed, match="not one of the hub"):
        models.folder_of(name, "", attempt=attempt)


def test_a_revision_that_leaves_the_folder_is_refused(models, attempt):
    with pytest.raises(TrainingFailed):
        models.folder_of(NAME, "../../x", attempt=attempt)


def test_what_is_here_is_listed(models, tmp_path):
    put(tmp_path / "own" / NAME)
    put(tmp_path / "own/xlm-roberta-base")
    put(tmp_path / "cache/google/bert/main")
    put(tmp_path / "cache/google/half/main.part")
    assert models.names() == ["builtin/tiny-bert", "google/bert", NAME, "xlm-roberta-base"]


def test_weights_are_fetched_once_and_as_safetensors():
    present = [
        "config.json",
        "vocab.txt",
        "model.safetensors",
        "pytorch_model.bin",
        "tf_model.h5",
        "onnx/model.onnx",
        "README.md",
    ]
    assert hub.wanted_files(present) == ["config.json", "model.safetensors", "vocab.txt"]


def test_pickled_weights_are_fetched_where_there_are_no_others():
    assert hub.wanted_files(["config.json", "pytorch_model.bin"]) == ["config.json", "pytorch_model.bin"]


def test_a_model_without_weights_for_pytorch_is_refused():
    with pytest.raises(hub.NoWeights):
        hub.wanted_files(["config.json", "tf_model.h5"])


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    def unreachable(*args):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(hub, "fetch", unreachable)
    assert hub.main([NAME, "", str(tmp_path)]) == ChildExit.BASE_MODEL_UNAVAILABLE
    assert capsys.readouterr().err == "ConnectionError: no route to host\n"
