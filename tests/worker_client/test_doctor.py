"""`doctor`: one line per check, and an exit code that says whether a job could run."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from worker_client import doctor, hardware


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Loading torch takes seconds; its own tests do it."""
    monkeypatch.setattr(doctor, "TORCH_PROBE", "print('2.13.0', '12.8', True)")


def lines(settings, capsys) -> tuple[int, dict[str, str]]:
    code = doctor.run(replace(settings, offline=False))
    told = capsys.readouterr().out.splitlines()
    return code, {line.split()[1]: line for line in told}


def test_a_machine_that_could_do_a_job_gets_one_line_per_check_and_0(server, settings, capsys):
    code, told = lines(settings, capsys)
    assert code == 0
    assert {"server", "token", "clock", "models-dir", "work-dir", "torch", "transformers", "gpu", "base"} <= set(told)
    assert told["token"].startswith("ok") and "pc-1" in told["token"]
    assert "builtin/tiny-bert" in told["base"]


def test_a_clock_that_differs_is_a_note(server, settings, capsys):
    code, told = lines(settings, capsys)
    assert told["clock"].startswith("note")
    assert code == 0


def test_a_server_that_is_away_fails(server, settings, capsys):
    server.stop()
    code, told = lines(settings, capsys)
    assert code == 1
    assert told["server"].startswith("fail")
    server.start()


def test_a_refused_token_fails(server, settings, capsys):
    code, told = lines(replace(settings, token="btw_unknown_token"), capsys)
    assert code == 1
    assert told["server"].startswith("ok")
    assert told["token"].startswith("fail")
    assert "btw_unknown_token" not in str(told)


def test_a_persons_token_fails_before_anybody_is_asked(server, settings, capsys):
    code, told = lines(replace(settings, token="btp_somebodys"), capsys)
    assert code == 1
    assert "A worker needs its own" in told["token"]
    assert not server.calls("/workers/register")


def test_a_full_disk_fails(server, settings, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED_BYTES", 10**18)
    code, told = lines(settings, capsys)
    assert code == 1
    assert told["models-dir"].startswith("fail")


def test_a_models_folder_that_cannot_be_written_fails(server, settings, capsys, tmp_path):
    (tmp_path / "a-file").touch()
    code, told = lines(replace(settings, models_dir=tmp_path / "a-file"), capsys)
    assert code == 1
    assert told["models-dir"].startswith("fail") and "--models-dir" in told["models-dir"]


@pytest.mark.parametrize(("fstype", "opts"), [("nfs4", "rw,relatime"), ("NTFS", "rw,remote")])
def test_a_work_folder_on_a_network_share_is_a_note(server, settings, capsys, monkeypatch, fstype, opts):
    mounts = [disk("/", "ext4", "rw"), disk(str(settings.work_dir.parent), fstype, opts)]
    monkeypatch.setattr(doctor.psutil, "disk_partitions", lambda all: mounts)
    code, told = lines(settings, capsys)
    assert code == 0
    assert told["work-dir"].startswith("note") and f"({fstype})" in told["work-dir"]


def test_a_share_next_to_the_work_folder_is_nobodys_business(settings, monkeypatch):
    mounts = [disk("/", "ext4", "rw"), disk(f"{settings.work_dir}-of-others", "nfs4", "rw")]
    monkeypatch.setattr(doctor.psutil, "disk_partitions", lambda all: mounts)
    assert doctor.network_share(settings.work_dir) == ""


def disk(mountpoint: str, fstype: str, opts: str) -> SimpleNamespace:
    """A partition as psutil tells it."""
    return SimpleNamespace(device="a", mountpoint=mountpoint, fstype=fstype, opts=opts)


@pytest.mark.parametrize(("present", "said"), [("", "not installed"), ("4.57.0", "not in the range")])
def test_a_library_that_is_absent_or_too_old_fails(server, settings, capsys, monkeypatch, present, said):
    real = hardware.installed_version
    monkeypatch.setattr(hardware, "installed_version", lambda name: present if name == "transformers" else real(name))
    code, told = lines(settings, capsys)
    assert code == 1
    assert said in told["transformers"]


def test_torch_that_cannot_be_loaded_fails_with_its_last_line(server, settings, monkeypatch):
    monkeypatch.setattr(doctor, "TORCH_PROBE", "raise ImportError('libcudart.so.12 not found')")
    finding = list(doctor.check_gpu(settings))[-1]
    assert finding.level == "fail"
    assert "libcudart.so.12 not found" in finding.text


@pytest.mark.parametrize(
    ("device", "has_gpu", "level"), [("auto", True, "note"), ("auto", False, "ok"), ("cuda", False, "fail")]
)
def test_torch_without_a_gpu_matters_as_far_as_one_is_wanted(server, settings, monkeypatch, device, has_gpu, level):
    monkeypatch.setattr(doctor, "TORCH_PROBE", "print('2.13.0+cpu', None, False)")
    monkeypatch.setattr(hardware, "gpus", lambda: [hardware.Gpu("RTX", 8 * 10**9, 0, 0.0)] if has_gpu else [])
    assert list(doctor.check_gpu(replace(settings, device=device)))[-1].level == level


@pytest.mark.slow
def test_the_real_torch_is_found_in_a_child(monkeypatch, settings):
    monkeypatch.undo()
    finding = list(doctor.check_gpu(settings))[-1]
    assert finding.level in ("ok", "note")
