"""Batch prediction: `python -m worker_client.training.prediction --model DIR --input IN.xlsx --output OUT.xlsx`."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker_client.formats import Record, SheetRefused
from worker_client.formats.bio import parse_list
from worker_client.training.faults import is_memory
from worker_client.training.sheets import SheetWriter
from worker_client.training.unlabelled import read_unlabelled

if TYPE_CHECKING:
    from worker_client.training.inference import Predictor
    from worker_client.training.task import Decoded

CHUNK_ROWS = 1_000  # rows in memory at once; within them, batches are of similar length
PROGRESS_EVERY_S = 2.0
DEFAULT_BATCH = 32
NAMEABLE = ("missing_columns", "sheet_not_found")  # refusals that a flag answers

Writer = Callable[[Sequence[Record], "Decoded"], None]


class PredictionRefused(Exception):
    """The request cannot be met; the message is one line for a person."""


def main(argv: list[str] | None = None) -> int:
    """0 when the file is written; 1 with one line on stderr when not; 2 for wrong arguments."""
    options = _parse(argv)
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        rows, blank, seconds = predict_sheet(options)
    except (PredictionRefused, SheetRefused, OSError) as problem:
        hint = " (--column, --sheet)" if isinstance(problem, SheetRefused) and problem.code in NAMEABLE else ""
        print(f"error: {problem}{hint}", file=sys.stderr)
        return 1
    except (RuntimeError, MemoryError) as problem:
        if not is_memory(problem):
            raise
        print(f"error: the memory was not enough, {_instead(options)}; nothing was written", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; nothing was written", file=sys.stderr)
        return 1
    left = f", {blank} left blank" if blank else ""
    print(f"{rows - blank} rows predicted{left} in {seconds:.1f} s: {options.output}", flush=True)
    return 0


def _instead(options: argparse.Namespace) -> str:
    import torch

    has_choice = options.device != "cpu" and torch.cuda.is_available()
    return "try --device cpu" if has_choice else "end other programs"


def predict_sheet(options: argparse.Namespace) -> tuple[int, int, float]:
    """Predict every row of a sheet. Returns rows, those of them that are blank or hold an error of Excel, and seconds.

    Raises PredictionRefused, SheetRefused, OSError.
    """
    _check_paths(options)
    predictor = _predictor(options)
    book = SheetWriter()
    write = (_text_writer if predictor.task.role == "text" else _token_writer)(book, predictor.task.labels)
    records = read_unlabelled(
        options.input, role=predictor.task.role, column=options.column or "", sheet=options.sheet or ""
    )
    began = time.monotonic()
    try:
        done, blank = _predict_chunks(predictor, records, write)
    except BaseException:
        book.discard()
        raise
    _save(book, options.output)
    return done, blank, time.monotonic() - began


def _predict_chunks(predictor: "Predictor", records: Iterable[Record], write: Writer) -> tuple[int, int]:
    """Chunk by chunk; says how far it is every few seconds. Returns the number of rows, and of those without input."""
    began = said = time.monotonic()
    source = iter(records)
    done = blank = 0
    while chunk := list(islice(source, CHUNK_ROWS)):
        write(chunk, predictor.predict(chunk))
        done += len(chunk)
        blank += sum(not getattr(record, predictor.task.role) for record in chunk)
        now = time.monotonic()
        if now - said >= PROGRESS_EVERY_S:
            said = now
            print(f"{done} rows, {done / (now - began):.0f} per second", flush=True)
    return done, blank


def _text_writer(book: SheetWriter, labels: list[str]) -> Writer:
    append = book.start_sheet("predictions", ["row", "id", "text", "predicted", "probability", *labels])

    def write(records: Sequence[Record], decoded: "Decoded") -> None:
        for record, label, chances in zip(records, decoded.labels, decoded.probabilities, strict=True):
            if record.text:
                shares = [round(float(chance), 6) for chance in chances]
                append([record.row, record.id, record.text, labels[label], shares[label], *shares])
            else:
                append([record.row, record.id, "", "", None])

    return write


def _token_writer(book: SheetWriter, labels: list[str]) -> Writer:
    """Tags come out as valid BIO, so that the sheet can be corrected and imported again."""
    from worker_client.training.metrics import entities, repair_tags

    append = book.start_sheet("predictions", ["row", "id", "tokens", "tags"])
    append_entity = book.start_sheet("entities", ["row", "type", "text", "start_word", "end_word"])

    def write(records: Sequence[Record], decoded: "Decoded") -> None:
        for record, ids in zip(records, decoded.labels, strict=True):
            tags = repair_tags([labels[at] for at in ids])
            append([record.row, record.id, _cell_of(record.tokens), " ".join(tags)])
            for kind, first, end in entities(tags):
                append_entity([record.row, kind, " ".join(record.tokens[first:end]), first + 1, end])

    return write


def _cell_of(tokens: Sequence[str]) -> str:
    """The tokens between blanks, or as a JSON list where some hold blanks themselves: read again they are the same."""
    cell = " ".join(tokens)
    return cell if parse_list(cell) == list(tokens) else json.dumps(tokens, ensure_ascii=False)


def _predictor(options: argparse.Namespace) -> "Predictor":
    import torch

    from worker_client.training.inference import ModelUnusable, Predictor
    from worker_client.training.log_lines import quieten_transformers

    quieten_transformers()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.device.startswith("cuda") and int(options.device.partition(":")[2] or 0) >= gpus:
        seen = f"the {gpus} CUDA GPUs here are counted from 0" if gpus else "no CUDA GPU is seen here"
        raise PredictionRefused(f"--device {options.device}: {seen}; use --device cpu or auto")
    device = ("cuda" if gpus else "cpu") if options.device == "auto" else options.device
    try:
        return Predictor(options.model, device=device, batch_size=options.batch_size)
    except ModelUnusable as problem:
        raise PredictionRefused(str(problem)) from problem


def _check_paths(options: argparse.Namespace) -> None:
    """Everything that can be refused before the model is loaded."""
    if not options.model.is_dir():
        raise PredictionRefused(f"there is no model directory {options.model}")
    if not options.input.is_file():
        raise PredictionRefused(f"there is no file {options.input}")
    if options.input.resolve() == options.output.resolve():
        raise PredictionRefused("--output is the input sheet; name another file")
    if options.output.is_dir():
        raise PredictionRefused(f"--output {options.output} is a folder; name a file in it")
    if not options.output.resolve().parent.is_dir():
        raise PredictionRefused(f"there is no folder {options.output.parent} for the output")


def _save(book: SheetWriter, path: Path) -> None:
    beside = path.with_name(f".{path.name}.partial")
    try:
        book.save(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    if book.shortened:
        print(f"warning: {book.shortened} cells were longer than Excel holds and were cut", file=sys.stderr)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m worker_client predict",
        description="Predict a whole sheet with a trained model, offline.",
        allow_abbrev=False,
    )
    add: Any = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="directory of the trained model")
    add("--input", type=Path, required=True, metavar="IN.xlsx", help="sheet with the column text or tokens")
    add("--output", type=Path, required=True, metavar="OUT.xlsx", help="written whole at the end")
    add("--sheet", help="name of the sheet (default: the first visible one that has the column)")
    add("--column", help="header of the text or tokens, if it is another")
    at_once = "model inputs at once (default %(default)s); fewer where they are long or memory is short"
    add("--batch-size", type=_positive, default=DEFAULT_BATCH, help=at_once)
    add("--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N (default %(default)s)")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def _device(text: str) -> str:
    if text not in ("auto", "cpu", "cuda") and not text.removeprefix("cuda:").isdecimal():
        raise argparse.ArgumentTypeError("must be auto, cpu, cuda or cuda:N")
    return text


if __name__ == "__main__":
    sys.exit(main())
