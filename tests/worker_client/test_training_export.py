"""The model's folder appears, also where something else still reads its files."""

from pathlib import Path

import pytest

from worker_client.training import export


@pytest.fixture
def staging(tmp_path):
    folder = tmp_path / ".run-7.partial"
    folder.mkdir()
    (folder / "config.json").write_text("new")
    return folder


@pytest.fixture
def scanner(monkeypatch):
    """Makes the next so many renames fail as they do on Windows while a file of the folder is open."""
    waited: list[float] = []
    rename = Path.rename

    def hold(times):
        def refused(self, target):
            if len(waited) < times:
                raise PermissionError(13, "Access is denied")
            return rename(self, target)

        monkeypatch.setattr(export.time, "sleep", waited.append)
        monkeypatch.setattr(Path, "rename", refused)
        return waited

    return hold


@pytest.mark.parametrize("old", [True, False])
def test_a_model_appears_as_soon_as_a_scanner_lets_go_of_it(tmp_path, staging, scanner, old):
    target = tmp_path / "run-7"
    if old:
        target.mkdir()
        (target / "config.json").write_text("old")
    waited = scanner(2)
    export._appear(staging, target)
    assert (target / "config.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run-7"]
    assert waited == [0.1, 0.5]


def test_a_folder_that_is_never_let_go_is_the_failure_that_it_is(tmp_path, staging, scanner):
    waited = scanner(1_000)
    with pytest.raises(PermissionError):
        export._appear(staging, tmp_path / "run-7")
    assert 10 < sum(waited) < 30
