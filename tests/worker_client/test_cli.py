"""Flags, variables, exit code 2, and the other subcommands."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker_client import cli, doctor
from worker_client.protocol import FakeMemory
from worker_client.settings import BadSetting, child_environment, normal_api_url

TOKEN = "btw_0123456789abcdef"
API_PATH = "/bert-training/api"


@pytest.fixture(autouse=True)
def _no_operator_variables(monkeypatch):
    for flag in ("API_URL", "TOKEN", "TOKEN_FILE", "MODELS_DIR", "WORK_DIR", "ONCE", "LOG_LEVEL", "ALLOW_HTTP"):
        monkeypatch.delenv(f"BERT_WORKER_{flag}", raising=False)


@pytest.fixture
def chosen(monkeypatch):
    """The settings that a command line leads to, without starting a worker."""
    seen = []
    monkeypatch.setattr(cli, "_work", lambda settings, command: seen.append(settings) or 0)

    def parse(*args):
        assert cli.main(list(args)) == 0
        return seen.pop()

    return parse


def flags(tmp_path: Path) -> list[str]:
    return ["--api-url", "https://treino.example.gov.br", "--token", TOKEN, "--models-dir", str(tmp_path / "m")]


def test_what_the_machine_s_owner_says_of_threads_goes_before_our_choice(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    ours = child_environment()["OMP_WAIT_POLICY"]
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert (ours, child_environment()["OMP_WAIT_POLICY"]) == ("PASSIVE", "ACTIVE")


@pytest.mark.parametrize(
    "given",
    [
        "https://treino.example.gov.br",
        "https://treino.example.gov.br/",
        "https://treino.example.gov.br/bert-training",
        "https://treino.example.gov.br/bert-training/api",
        "https://treino.example.gov.br/bert-training/api/",
    ],
)
def test_an_address_is_taken_with_or_without_the_api_s_path(given):
    assert normal_api_url(given, allow_http=False) == f"https://treino.example.gov.br{API_PATH}"


def test_an_address_below_a_prefix_keeps_it():
    assert normal_api_url("https://x.gov.br/ia/", allow_http=False) == f"https://x.gov.br/ia{API_PATH}"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_plain_http_to_this_machine_is_fine(host):
    assert normal_api_url(f"http://{host}", allow_http=False) == f"http://{host}{API_PATH}"


@pytest.mark.parametrize("given", ["http://10.0.0.5:8000", "http://localhost.example.org"])
def test_plain_http_over_the_network_is_refused_unless_allowed(given):
    with pytest.raises(BadSetting, match="plain http"):
        normal_api_url(given, allow_http=False)
    assert normal_api_url(given, allow_http=True) == given + API_PATH


@pytest.mark.parametrize(
    "given", ["", None, "treino.example.gov.br", "ftp://x", "https://", "https://x:port", "https://me:pw@x.gov.br"]
)
def test_what_is_no_address_is_refused(given):
    with pytest.raises(BadSetting, match="--api-url"):
        normal_api_url(given, allow_http=False)


def test_every_flag_is_taken(chosen, tmp_path):
    more = ["--once", "--drain-when-idle", "--poll-seconds", "5", "--offline", "--device", "cuda:1"]
    more += ["--processes", "2", "--work-dir", str(tmp_path / "w"), "--log-level", "debug"]
    settings = chosen("run", *flags(tmp_path), *more)
    assert settings.once
    assert settings.drain_when_idle
    assert settings.offline
    assert (settings.poll_seconds, settings.device, settings.processes) == (5.0, "cuda:1", 2)
    assert (settings.work_dir, settings.log_level) == (tmp_path / "w", "DEBUG")


def test_memory_and_checkpoints_may_be_set_by_flag_or_variable(chosen, tmp_path, monkeypatch):
    assert (chosen(*flags(tmp_path)).gpu_memory_fraction, chosen(*flags(tmp_path)).keep_checkpoints) == (None, False)
    settings = chosen(*flags(tmp_path), "--gpu-memory-fraction", "0.5", "--keep-checkpoints")
    assert (settings.gpu_memory_fraction, settings.keep_checkpoints) == (0.5, True)
    monkeypatch.setenv("BERT_WORKER_GPU_MEMORY_FRACTION", "0.25")
    monkeypatch.setenv("BERT_WORKER_KEEP_CHECKPOINTS", "1")
    settings = chosen(*flags(tmp_path))
    assert (settings.gpu_memory_fraction, settings.keep_checkpoints) == (0.25, True)


@pytest.mark.parametrize("share", ["0", "1.5", "half", "nan", "-1"])
def test_a_share_of_the_gpu_that_is_none_is_a_bad_argument(tmp_path, capsys, share):
    with pytest.raises(SystemExit) as ended:
        cli.main([*flags(tmp_path), "--gpu-memory-fraction", share])
    assert ended.value.code == 2
    assert "is not a share" in capsys.readouterr().err


def test_the_memory_of_tests_is_unlimited_where_nothing_is_set(chosen, tmp_path, monkeypatch):
    assert chosen(*flags(tmp_path)).fake_memory is None
    monkeypatch.setenv("BERT_WORKER_TEST_MAX_BATCH", "16")
    monkeypatch.setenv("BERT_WORKER_TEST_MAX_FROM_STEP", "3")
    assert chosen(*flags(tmp_path)).fake_memory == FakeMemory(rows=16.0, from_step=3)


def test_the_work_folder_lies_in_the_models_folder_by_default(chosen, tmp_path):
    assert chosen(*flags(tmp_path)).work_dir == tmp_path / "m" / ".worker"


def test_every_flag_may_be_a_variable_and_the_flag_wins(chosen, tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_WORKER_API_URL", "https://a.gov.br")
    monkeypatch.setenv("BERT_WORKER_TOKEN", TOKEN)
    monkeypatch.setenv("BERT_WORKER_MODELS_DIR", str(tmp_path / "m"))
    monkeypatch.setenv("BERT_WORKER_ONCE", "1")
    monkeypatch.setenv("BERT_WORKER_LOG_LEVEL", "warning")
    settings = chosen("--api-url", "https://b.gov.br")
    assert settings.api_url == f"https://b.gov.br{API_PATH}"
    assert (settings.token, settings.once, settings.log_level) == (TOKEN, True, "WARNING")


def test_the_token_may_lie_in_a_file(chosen, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    args = ["--api-url", "https://a.gov.br", "--models-dir", str(tmp_path / "m")]
    assert chosen(*args, "--token-file", str(tmp_path / "token")).token == TOKEN


def test_the_token_is_in_no_repr(chosen, tmp_path):
    assert TOKEN not in repr(chosen(*flags(tmp_path)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--device", "tpu"], "auto, cpu, cuda"),
        (["--poll-seconds", "0"], "number of seconds"),
        (["--processes", "0"], "whole number"),
        (["--log-level", "loud"], "DEBUG"),
        (["--api-url", "nowhere"], "--api-url"),
        (["--token", " "], "token is missing"),
        (["--base-models-dir", "/no/such/folder"], "not a folder"),
        (["--frobnicate"], "unrecognized"),
    ],
)
def test_a_bad_argument_is_one_clear_line_and_exit_code_2(tmp_path, capsys, change, told):
    with pytest.raises(SystemExit) as ended:
        cli.main([*flags(tmp_path), *change])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("missing", ["--api-url", "--token", "--models-dir"])
def test_a_missing_flag_is_named(tmp_path, capsys, missing):
    args = flags(tmp_path)
    at = args.index(missing)
    with pytest.raises(SystemExit) as ended:
        cli.main(args[:at] + args[at + 2 :])
    assert ended.value.code == 2
    assert missing in capsys.readouterr().err


def test_a_models_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "m").write_text("a file")
    with pytest.raises(SystemExit) as ended:
        cli.main(flags(tmp_path))
    assert ended.value.code == 2
    assert "--models-dir" in capsys.readouterr().err


def test_a_variable_that_is_neither_yes_nor_no_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BERT_WORKER_ONCE", "perhaps")
    with pytest.raises(SystemExit) as ended:
        cli.main(flags(tmp_path))
    assert ended.value.code == 2
    assert "BERT_WORKER_ONCE" in capsys.readouterr().err


def test_the_package_loads_neither_torch_nor_requests_nor_django():
    program = "import sys, worker_client; print([m for m in ('torch', 'requests', 'django') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_the_worker_s_parent_loads_neither_torch_nor_django():
    program = (
        "import sys, worker_client.poller, worker_client.doctor, worker_client.cli, worker_client.hub; "
        "print([m for m in ('torch', 'transformers', 'django', 'numpy', 'huggingface_hub') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_run_worker_is_the_same_program():
    command = [sys.executable, "manage.py", "run_worker", "--api-url", "nowhere"]
    env = {**child_environment(), "SECRET_KEY": "only-for-tests"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], env=env)
    assert done.returncode == 2
    assert "--models-dir is missing" in done.stderr


def test_a_missing_package_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "worker_client.api", None)
    monkeypatch.setattr(cli, "configure_logging", lambda settings: None)
    assert cli.main(flags(tmp_path)) == 2
    assert capsys.readouterr().err.splitlines() == [
        "python -m worker_client: the package worker_client.api is missing: pip install 'bert-training[worker]'."
    ]


def test_predict_passes_flags_exit_code_and_environment_through(monkeypatch):
    seen = {}

    def run(command, *, env, check):
        seen.update(command=command, env=env)
        return subprocess.CompletedProcess(command, 4)

    monkeypatch.setenv("BERT_WORKER_TOKEN", TOKEN)
    monkeypatch.setattr(subprocess, "run", run)
    flags = ["--model", "m", "--input", "a.xlsx", "--output", "b.xlsx", "--column", "Ementa"]
    assert cli.main(["predict", *flags]) == 4
    assert seen["command"][1:] == ["-m", "worker_client.training.prediction", *flags]
    assert TOKEN not in str(seen["env"])
    assert seen["env"]["HF_HUB_OFFLINE"] == "1"


def test_predict_without_a_model_is_a_bad_argument(capfd):
    assert cli.main(["predict", "--input", "a.xlsx", "--output", "b.xlsx"]) == 2
    assert "--model" in capfd.readouterr().err


def test_doctor_and_predict_are_named_by_the_help(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "predict --help" in told
    assert "doctor --help" in told


def test_a_child_finds_the_package_from_any_folder(tmp_path):
    command = [sys.executable, "-c", "import worker_client.protocol"]
    assert subprocess.run(command, cwd=tmp_path, env=child_environment()).returncode == 0


def test_doctor_knows_the_ranges_of_the_worker_extra():
    import tomllib

    from packaging.requirements import Requirement

    extra = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    wanted = {line.name: str(line.specifier) for line in map(Requirement, extra["worker"])}
    known = {name: str(Requirement(name + specifier).specifier) for name, specifier in doctor.LIBRARIES.items()}
    assert {name: wanted[name] for name in known} == known
