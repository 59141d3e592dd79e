"""Fetches one base model from the hub: `python -m worker_client.hub NAME REVISION FOLDER`.

A process of its own, so that the worker stays light and a cancel can end a download of gigabytes at once.
Exit code 0, or a ChildExit with one line on stderr.
"""

import errno
import re
import sys
from pathlib import Path
from typing import Any

from worker_client.errors import ChildExit

ALWAYS = re.compile(r"(config|tokenizer.*|vocab|added_tokens|special_tokens_map)\.json|(vocab|merges)\.txt|.*\.model")
SAFE_WEIGHTS = re.compile(r"model.*\.safetensors(\.index\.json)?")
PICKLED_WEIGHTS = re.compile(r"pytorch_model.*\.bin(\.index\.json)?")


class NoWeights(Exception):
    """The hub knows the model, but it holds nothing that PyTorch can load."""


def wanted_files(present: list[str]) -> list[str]:
    """The files to fetch: configuration, tokenizer, and the weights once, as safetensors where there are any.

    Raises NoWeights. Copies for other libraries (TensorFlow, ONNX) would double the download.
    """
    weights = [name for name in present if SAFE_WEIGHTS.fullmatch(name)]
    weights = weights or [name for name in present if PICKLED_WEIGHTS.fullmatch(name)]
    if not weights:
        raise NoWeights("it holds no weights for PyTorch")
    return sorted({*weights, *(name for name in present if ALWAYS.fullmatch(name))})


def fetch(name: str, revision: str, folder: Path) -> None:
    """Fill `folder`; files that an earlier try completed are not fetched again."""
    from huggingface_hub import HfApi, snapshot_download

    info: Any = HfApi().model_info(name, revision=revision or None)
    files = wanted_files([sibling.rfilename for sibling in info.siblings])
    # By the commit that was listed: a push in between must not mix two versions.
    snapshot_download(name, revision=info.sha, local_dir=folder, allow_patterns=files)


def main(argv: list[str]) -> int:
    """Fetch, or say in one line why not."""
    name, revision, folder = argv
    try:
        fetch(name, revision, Path(folder))
    except Exception as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return ChildExit.DISK_FULL if full else ChildExit.BASE_MODEL_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
