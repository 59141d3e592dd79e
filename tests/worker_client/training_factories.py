"""Small sheets, specs and runs for the tests of the training child."""

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from worker_client.formats import Record
from worker_client.protocol import TrainingSpec
from worker_client.spool import Spool
from worker_client.training.sheets import SheetWriter
from worker_client.workspace import Workspace

WORDS = [
    "o",
    "processo",
    "foi",
    "ao",
    "juiz",
    "com",
    "vista",
    "parecer",
    "da",
    "parte",
    "autora",
    "nos",
    "autos",
    "hoje",
]
SIGNS = {
    "Arquivado": ["arquivado", "baixa", "definitiva"],
    "Ativo": ["conclusos", "despacho", "audiência"],
    "Suspenso": ["suspenso", "sobrestado", "aguarda"],
}
QUICK = {
    "epochs": 2,
    "learning_rate": 2e-3,
    "batch_size": 8,
    "max_length": 32,
    "save_every_minutes": 0,
    "precision": "fp32",  # what `auto` means depends on the processor
}


def make_sheet(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    writer = SheetWriter()
    append = writer.start_sheet("dados", header)
    for row in rows:
        append(row)
    writer.save(path)
    return path


def text_rows(count: int, *, seed: int = 1, words: int = 6) -> list[tuple[str, str]]:
    """Distinct texts whose label shows in one word."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        label = list(SIGNS)[number % 3]
        text = [dice.choice(WORDS) for _ in range(words)] + [dice.choice(SIGNS[label]), str(number)]
        dice.shuffle(text)
        rows.append((" ".join(text), label))
    return rows


def token_rows(count: int, *, seed: int = 1) -> list[tuple[str, str]]:
    """Sentences with a person of two words and a place of one."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        tokens = [dice.choice(WORDS) for _ in range(dice.randint(2, 9))] + [str(number)]
        tags = ["O"] * len(tokens)
        at = dice.randrange(len(tokens))
        tokens[at:at] = [dice.choice(["Maria", "João", "Ana"]), dice.choice(["Silva", "Souza"]), "em", "Fortaleza"]
        tags[at:at] = ["B-PESSOA", "I-PESSOA", "O", "B-LOCAL"]
        rows.append((" ".join(tokens), " ".join(tags)))
    return rows


TAGS = ["O", "B-PESSOA", "I-PESSOA", "B-LOCAL", "I-LOCAL"]


def make_spec(
    folder: Path, rows: Sequence[Sequence[Any]], *, task: str = "text_classification", **changes: Any
) -> TrainingSpec:
    """A run of builtin/tiny-bert on `rows`; `hyperparameters` are added to QUICK."""
    roles = ["text", "label"] if task == "text_classification" else ["tokens", "tags"]
    folder.mkdir(parents=True, exist_ok=True)
    sheet = make_sheet(folder / "sheet.xlsx", roles, rows)
    spec = TrainingSpec(
        job_id=1,
        attempt=1,
        run_id=7,
        run_name="Andamentos",
        task_type=task,
        base_model="builtin/tiny-bert",
        base_model_revision="",
        base_model_dir=None,
        seed=42,
        hyperparameters={**QUICK, **changes.pop("hyperparameters", {})},
        dataset_path=str(sheet),
        dataset_sha256=hashlib.sha256(sheet.read_bytes()).hexdigest(),
        dataset_filename="sheet.xlsx",
        sheet="dados",
        columns={role: role for role in roles},
        labels=list(SIGNS) if task == "text_classification" else TAGS,
        repair_bio=False,
        model_dir=str(folder / "models" / "run-7"),
        checkpoints_dir=str(folder / "jobs" / "1" / "checkpoints"),
        device="cpu",
    )
    return replace(spec, **changes)


def calm_base(folder: Path, rows: Sequence[tuple[str, str]]) -> str:
    """The folder of a base model without dropout, whose masks would differ with the split of a batch."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from worker_client.training.base_models import _tiny_tokenizer
    from worker_client.training.tasks import task_for

    torch.manual_seed(1)
    records = [Record(at, text=text, label=label) for at, (text, label) in enumerate(rows, start=2)]
    tokenizer = _tiny_tokenizer(task_for("text_classification", list(SIGNS)), records)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **small, **off)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return str(folder / "base")


def make_workspace(folder: Path, spec: TrainingSpec, attempt: int = 1) -> Workspace:
    workspace = Workspace.create(folder, 1, attempt)
    workspace.write_spec(spec)
    return workspace


def start_child(workspace: Workspace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "worker_client.training", str(workspace.root)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def run_child(workspace: Workspace) -> int:
    """The exit code of the real process."""
    return start_child(workspace).wait(timeout=300)


def log_of(workspace: Workspace) -> str:
    spool = Spool(workspace.spool_path)
    lines = "\n".join(f"{line['level']} {line['message']}" for line in spool.next_logs())
    spool.close()
    return lines


def figures_of(workspace: Workspace) -> list[dict[str, Any]]:
    spool = Spool(workspace.spool_path)
    points, _ = spool.next_metrics()
    spool.close()
    return points


def wait_for_training(workspace: Workspace) -> None:
    """Until the child says that it trains."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if workspace.spool_path.exists():
            spool = Spool(workspace.spool_path)
            progress = spool.progress()
            spool.close()
            if progress and progress["phase"] == "training":
                return
        time.sleep(0.02)
    raise AssertionError("the child never began to train")
