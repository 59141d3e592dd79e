"""The peer: what the examples `run_classification.py` and `run_ner.py` of transformers (as of 5.8.0) do by default.

    python -m benchmarks.train.reference train|predict|score JOB.json

Padding (classification: every text to max_length; entities: each batch to its longest row), fp32, the Trainer's own
AdamW, scheduler, sampler and clipping; batches of 8 and three epochs unless told otherwise, the last weights kept.
Where we leave the scripts, it is in their favour: rows are lists in memory and no Arrow files, no progress bar,
nothing is saved during the training, and scores come from our quick functions and not from `evaluate`.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.train.sheets import read_parts
from benchmarks.train.turns import Channel, Meter, Stopwatch, peak_memory, take_part
from worker_client.formats import TOKEN_CLASSIFICATION, Record

IGNORED = -100


@dataclass(frozen=True)
class Job:
    """What is run, on which rows. Everything else is the scripts' default."""

    task: str
    sheet: str
    labels: list[str]
    model: str  # a folder
    max_length: int
    epochs: int
    output: str
    device: str = "cpu"
    seed: int = 42
    learning_rate: float = 5e-5
    batch_size: int = 8
    bf16: bool = False
    evaluate: bool = True  # after each epoch; the scripts do it once, at the end
    pad_to_max_length: bool = True  # classification; what is padded changes the time and not the arithmetic

    def write(self, path: Path) -> Path:
        """For the process that runs it."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path


class Recipe(ABC):
    """One of the two scripts, with the rows of a job."""

    auto_class: str

    def __init__(self, job: Job) -> None:
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.set_seed(job.seed)
        self.job = job
        self.label_to_id = {label: at for at, label in enumerate(job.labels)}
        self.records = read_parts(Path(job.sheet), job.task)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(job.model)
        model_class = getattr(transformers, self.auto_class)
        self.model = model_class.from_pretrained(job.model, num_labels=len(job.labels))

    @abstractmethod
    def rows(self, records: list[Record]) -> list[dict[str, Any]]:
        """What the Trainer is given."""

    @abstractmethod
    def collator(self) -> Any:
        """How rows become a batch."""

    @abstractmethod
    def compute_metrics(self, outcome: Any) -> dict[str, float]:
        """The script's figures of an evaluation."""

    @abstractmethod
    def f1(self, records: list[Record], rows: list[dict[str, Any]], logits: np.ndarray) -> float:
        """As our engine scores: macro F1 of texts; F1 of whole entities over all words, lost ones included."""

    def trainer(self) -> Any:
        """The Trainer of the script."""
        from transformers import Trainer, TrainingArguments

        job = self.job
        arguments = TrainingArguments(
            output_dir=job.output,
            num_train_epochs=job.epochs,
            learning_rate=job.learning_rate,
            per_device_train_batch_size=job.batch_size,
            per_device_eval_batch_size=job.batch_size,
            seed=job.seed,
            bf16=job.bf16,
            use_cpu=job.device == "cpu",
            dataloader_pin_memory=job.device != "cpu",  # only spares a warning: without a GPU nothing is pinned
            eval_strategy="epoch" if job.evaluate else "no",
            save_strategy="no",
            disable_tqdm=True,
            report_to="none",
        )
        return Trainer(
            model=self.model,
            args=arguments,
            train_dataset=self.rows(self.records["train"]),
            eval_dataset=self.rows(self.records["validation"]),
            compute_metrics=self.compute_metrics,
            processing_class=self.tokenizer,
            data_collator=self.collator(),
        )


class Classification(Recipe):
    """`run_classification.py`."""

    auto_class = "AutoModelForSequenceClassification"

    def rows(self, records: list[Record]) -> list[dict[str, Any]]:
        """The texts, padded to max_length."""
        encoded = self.tokenizer(
            [record.text for record in records],
            padding="max_length" if self.job.pad_to_max_length else False,
            max_length=self.job.max_length,
            truncation=True,
        )
        columns = [{**dict(zip(encoded, values, strict=True))} for values in zip(*encoded.values(), strict=True)]
        return [{**row, "label": self.label_to_id[r.label]} for row, r in zip(columns, records, strict=True)]

    def collator(self) -> Any:
        """The default one, since the rows are padded."""
        from transformers import DataCollatorWithPadding, default_data_collator

        return default_data_collator if self.job.pad_to_max_length else DataCollatorWithPadding(self.tokenizer)

    def compute_metrics(self, outcome: Any) -> dict[str, float]:
        """Accuracy."""
        return {"accuracy": float((outcome.predictions.argmax(axis=1) == outcome.label_ids).mean())}

    def f1(self, records: list[Record], rows: list[dict[str, Any]], logits: np.ndarray) -> float:
        """Macro F1."""
        from worker_client.training.metrics import classification_figures

        gold = [self.label_to_id[record.label] for record in records]
        return classification_figures(gold, logits.argmax(axis=1).tolist())["f1"]


class Entities(Recipe):
    """`run_ner.py`."""

    auto_class = "AutoModelForTokenClassification"

    def rows(self, records: list[Record]) -> list[dict[str, Any]]:
        """The label of a word on its first sub-token."""
        encoded = self.tokenizer(
            [list(record.tokens) for record in records],
            padding=False,
            truncation=True,
            max_length=self.job.max_length,
            is_split_into_words=True,
        )
        columns = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
        return [{**row, "labels": self._align(encoded.word_ids(at), records[at])} for at, row in enumerate(columns)]

    def collator(self) -> Any:
        """Pads each batch to its longest row."""
        from transformers import DataCollatorForTokenClassification

        return DataCollatorForTokenClassification(self.tokenizer)

    def compute_metrics(self, outcome: Any) -> dict[str, float]:
        """Precision, recall and F1 of entities, over the words that were not cut."""
        from worker_client.training.metrics import entity_figures

        predicted, gold = self._strings(outcome.predictions, outcome.label_ids), self._gold(outcome.label_ids)
        return entity_figures(gold, predicted)

    def f1(self, records: list[Record], rows: list[dict[str, Any]], logits: np.ndarray) -> float:
        """F1 of whole entities; a word that was cut away counts as O."""
        from worker_client.training.metrics import entity_figures

        tags = []
        for record, row, scores in zip(records, rows, logits, strict=True):
            of_word = ["O"] * len(record.tokens)
            words = self.tokenizer([list(record.tokens)], is_split_into_words=True).word_ids(0)
            for at, label in enumerate(row["labels"]):
                if label != IGNORED:
                    of_word[words[at]] = self.job.labels[scores[at].argmax()]
            tags.append(of_word)
        return entity_figures([record.tags for record in records], tags)["f1"]

    def _align(self, words: list[int | None], record: Record) -> list[int]:
        previous = [None, *words[:-1]]
        return [
            IGNORED if word is None or word == before else self.label_to_id[record.tags[word]]
            for word, before in zip(words, previous, strict=True)
        ]

    def _strings(self, logits: np.ndarray, label_ids: np.ndarray) -> list[list[str]]:
        best = logits.argmax(axis=2)
        pairs = zip(best, label_ids, strict=True)
        return [[self.job.labels[tag] for tag in tags[labels != IGNORED]] for tags, labels in pairs]

    def _gold(self, label_ids: np.ndarray) -> list[list[str]]:
        return [[self.job.labels[label] for label in labels[labels != IGNORED]] for labels in label_ids]


def recipe(job: Job) -> Recipe:
    """The script of a task."""
    return Entities(job) if job.task == TOKEN_CLASSIFICATION else Classification(job)


def train(job: Job) -> None:
    """By turns, then saved as the scripts do."""
    channel = Channel()
    take_part(channel)
    trainer = recipe(job).trainer()
    trainer.train()
    trainer.save_model()
    channel.tell(**peak_memory())


def predict(job: Job) -> None:
    """The rows of the part `test`, again in each turn: from texts to labels, as with `--do_predict`."""
    channel, meter = Channel(), Meter()
    script = recipe(job)
    trainer = script.trainer()
    meter.watch(script.model)
    channel.tell(ready=True)
    while True:
        channel.wait()
        meter.restart()
        stopwatch = Stopwatch()
        trainer.predict(script.rows(script.records["test"])).predictions.argmax(axis=-1)
        channel.tell(predict={**stopwatch.look(), **meter.read(training=False)})


def score(job: Job) -> None:
    """Train without turns and say the F1 of the part `test`."""
    channel = Channel()
    script = recipe(job)
    trainer = script.trainer()
    channel.tell(ready=True)
    trainer.train()
    records = script.records["test"]
    rows = script.rows(records)
    channel.tell(f1=script.f1(records, rows, trainer.predict(rows).predictions))


if __name__ == "__main__":
    {"train": train, "predict": predict, "score": score}[sys.argv[1]](Job(**json.loads(Path(sys.argv[2]).read_text())))
