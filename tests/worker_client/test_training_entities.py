"""Entity scores from sub-tokens to figures: those of seqeval's strict mode on the words of the sheet."""

import random

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import BertProcessing
from transformers import PreTrainedTokenizerFast

from worker_client.formats import Record
from worker_client.training.batches import Padded
from worker_client.training.framing import frame_for
from worker_client.training.tasks import task_for

TAGS = ["O", "B-PESSOA", "I-PESSOA", "B-LOCAL", "I-LOCAL"]
NAMES = ["Maria", "Silva", "desembargadora", "Fortaleza", "em", "o", "inconstitucionalissimamente"]


@pytest.fixture(scope="module")
def tokenizer():
    """One sub-token per letter: every word but the shortest is split."""
    letters = sorted({letter for name in NAMES for letter in name.lower()})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    built = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    built.normalizer = normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=built, **special)
    wrapped.backend_tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return wrapped


def valid(dice, count):
    """Gold tags: an I-X always goes on with what a B-X began."""
    tags: list[str] = []
    for _ in range(count):
        kind = tags[-1][2:] if tags and tags[-1] != "O" else ""
        tags.append(dice.choice(["O", "B-PESSOA", "B-LOCAL", *([f"I-{kind}"] * 3 if kind else [])]))
    return tags


def rows_of(seed, longest):
    dice = random.Random(seed)
    lengths = [dice.randint(1, longest) for _ in range(12)]
    return [
        Record(row, tokens=tuple(dice.choices(NAMES, k=length)), tags=tuple(valid(dice, length)))
        for row, length in enumerate(lengths, start=2)
    ]


def said_of(task, records, tokenizer, frame, answers):
    """What comes of a model that answers `answers[row][word]` wherever it reads the first sub-token of a word."""
    encoded = task.encode(records, task.tokenize(records, tokenizer), frame).by_length()
    compacted = []
    for feature, owner in zip(encoded.features, encoded.owners, strict=True):
        labels = task.collate([feature], Padded(0))["labels"]
        logits = torch.full((*labels.shape, len(task.labels)), -5.0)
        places = (labels[0] != -100).nonzero().flatten().tolist()
        for place, word in zip(places, feature["words"], strict=True):
            logits[0, place, task.ids[answers[owner][word]]] = 5.0
        compacted.append(task.compact(logits, labels).numpy())
    return task.figures(records, task.decode(records, encoded, compacted))


def read_words(record, tokenizer, capacity):
    """How many words begin within the first `capacity` sub-tokens, counted word by word."""
    ends = np.cumsum([len(tokenizer.tokenize(word)) for word in record.tokens])
    return 1 + int((ends < capacity).sum())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("long_text", "max_length", "cut"),
    [("truncate", 512, False), ("truncate", 24, True), ("windows", 24, False)],
    ids=["whole", "truncated", "windows"],
)
def test_figures_of_split_words_cut_rows_and_broken_tags_are_those_of_seqeval(
    tokenizer, seed, long_text, max_length, cut
):
    records, task = rows_of(seed, longest=15), task_for("token_classification", TAGS)
    frame = frame_for(tokenizer, max_length=max_length, long_text=long_text, window_stride=8)
    dice = random.Random(f"answers {seed}")
    answers = [  # half right, half any tag: with I-X after O, after another type and at the beginning
        [tag if dice.random() < 0.5 else dice.choice(TAGS) for tag in record.tags] for record in records
    ]
    seen = [read_words(record, tokenizer, frame.capacity) if cut else len(record.tokens) for record in records]
    expected = [[*row[:count], *["O"] * len(row[count:])] for row, count in zip(answers, seen, strict=True)]
    found = said_of(task, records, tokenizer, frame, answers)
    gold = [list(record.tags) for record in records]
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    for name, judge in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert found[name] == pytest.approx(judge(gold, expected, **strict), abs=1e-9), name
    if cut:
        assert expected != answers


def test_tags_chances_and_loss_of_the_words_are_those_of_torch_and_words_that_were_cut_have_none(tokenizer):
    task = task_for("token_classification", TAGS)
    record = Record(2, tokens=("em", "o", "Silva"), tags=("O", "B-LOCAL", "B-PESSOA"))
    frame = frame_for(tokenizer, max_length=5, long_text="truncate", window_stride=0)  # "em" and "o"
    encoded = task.encode([record], task.tokenize([record], tokenizer), frame)
    assert (encoded.lost_words, encoded.cut, encoded.lengths) == (1, [5], [8])
    logits = torch.randn(1, 5, len(TAGS), generator=torch.Generator().manual_seed(1))
    labels = task.collate(encoded.features, Padded(0))["labels"]
    decoded = task.decode([record], encoded, [task.compact(logits, labels).numpy()])
    of_words = logits[0, [1, 3]]
    chances, tags = of_words.softmax(dim=-1).max(dim=-1)
    assert decoded.labels == [[*tags.tolist(), task.ids["O"]]]
    assert decoded.probabilities[0] == pytest.approx([*chances.tolist(), 0.0])
    gold = torch.tensor([task.ids["O"], task.ids["B-LOCAL"]])
    assert decoded.loss == pytest.approx(torch.nn.functional.cross_entropy(of_words, gold).item())


def test_the_baseline_of_entities_tags_every_word_as_most_words_of_the_training_part_are():
    task = task_for("token_classification", ["B-LOCAL", "O"])
    train = [Record(2, tokens=("a", "b", "c"), tags=("O", "O", "B-LOCAL"))]
    test = [Record(3, tokens=("a", "b", "c", "d"), tags=("O", "O", "O", "B-LOCAL"))]
    assert task.baseline(train, test) == {"accuracy": 0.75, "precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_a_row_without_labels_adds_nothing_to_the_loss_of_a_batch(tokenizer):
    task, records = task_for("token_classification", TAGS), rows_of(seed=4, longest=6)
    frame = frame_for(tokenizer, max_length=64, long_text="truncate", window_stride=0)
    features = task.encode(records, task.tokenize(records, tokenizer), frame).features
    whole = task.collate([features[0], task.unlabelled(features[1])], Padded(0))
    logits = torch.randn(*whole["labels"].shape, len(TAGS), generator=torch.Generator().manual_seed(1))
    alone = task.collate(features[:1], Padded(0))["labels"]
    assert task.loss(logits, whole["labels"]) == task.loss(logits[:1, : alone.shape[1]], alone)
