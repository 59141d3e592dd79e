"""Steps are those of the library, however a batch is split; the order of rows depends on seed and epoch alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from worker_client.formats import Record
from worker_client.training import attempt, packing, trainer
from worker_client.training.base_models import first_position
from worker_client.training.batches import Packed, Padded
from worker_client.training.encoding import Encoded, balanced_weights
from worker_client.training.environment import Recipe
from worker_client.training.hyperparameters import Hyperparameters
from worker_client.training.ordering import RowOrder
from worker_client.training.tasks import task_for

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": 3,
}
MODELS = {
    ("bert", "text_classification"): (BertConfig, BertForSequenceClassification),
    ("bert", "token_classification"): (BertConfig, BertForTokenClassification),
    ("xlm-r", "text_classification"): (XLMRobertaConfig, XLMRobertaForSequenceClassification),
    ("xlm-r", "token_classification"): (XLMRobertaConfig, XLMRobertaForTokenClassification),
}


class OneTokenizer:
    """What the Trainer asks of a tokenizer when nothing is saved."""

    pad_token_id = 1
    padding_side = "right"


class KeepGradient(TrainerCallback):
    """The gradient of the first step."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradient = torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.grad is not None])


def features(task_type, windows=False):
    dice = np.random.default_rng(5)
    made = []
    for length in (3, 9, 4, 12, 5, 8, 20, 6):
        ids = dice.integers(5, 40, length).astype(np.int32)
        if task_type == "text_classification":
            parts = [ids, ids[::-1].copy()] if windows and length > 8 else [ids]
            made.append({"windows": parts, "label": int(length % 3), "length": length})
        else:
            labels = np.where(np.arange(length) % 2, dice.integers(0, 3, length), -100)
            made.append({"ids": ids, "labels": labels, "words": [], "length": length})
    return made


def layout_of(model, packed):
    """Packed batches by decree: whether a model may be given them is proven elsewhere."""
    if not packed:
        return Padded(1)
    packing.teach(model)
    return Packed(first_position(model))


def built_model(family, task_type):
    torch.manual_seed(0)
    config, model = MODELS[family, task_type]
    return model(config(**SIZES))


def engine_of(built, arguments, task_type, *, windows=False, weight=None, packed=True, callbacks=()):
    labels = ["a", "b", "c"] if task_type == "text_classification" else ["O", "B-X", "I-X"]
    encoded = Encoded(features(task_type, windows), list(range(8)), [0] * 8)
    lengths = [feature["length"] for feature in encoded.features]
    return trainer.EncoderTrainer(
        model=built,
        args=arguments,
        callbacks=list(callbacks),
        task=task_for(task_type, labels),
        train=encoded,
        validation=([], encoded),
        weight=weight,
        fingerprint="",
        tokenizer=OneTokenizer(),
        layout=layout_of(built, packed),
        order=RowOrder(lengths, batch_size=arguments.train_batch_size, seed=1, grouped=False),
        memory=None,
        note=None,
    )


def gradient(tmp_path, family, task_type, *, largest_batch, smoothing=0.0, **like):
    kept = KeepGradient()
    hyper = Hyperparameters.from_spec(
        {"batch_size": 8, "epochs": 1, "early_stopping_patience": 0, "label_smoothing": smoothing}
    )
    arguments = trainer.training_arguments(
        hyper, seed=1, recipe=Recipe("cpu", "fp32"), output_dir=str(tmp_path), largest_batch=largest_batch
    )
    arguments.eval_strategy = arguments.save_strategy = "no"
    arguments.max_grad_norm = 0.0  # clipping would hide a wrong length
    engine_of(built_model(family, task_type), arguments, task_type, callbacks=[kept], **like).train()
    return kept.gradient


@pytest.mark.parametrize(("family", "task_type"), MODELS, ids=lambda value: value)
@pytest.mark.parametrize("weight", [None, np.array([0.5, 1.0, 3.0])], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1], ids=["sharp", "smoothed"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_two_rows_four_times_give_the_gradient_of_eight(tmp_path, family, task_type, weight, packed, smoothing):
    like = {"weight": weight, "smoothing": smoothing}
    whole = gradient(tmp_path / "a", family, task_type, largest_batch=None, **like)
    split = gradient(tmp_path / "b", family, task_type, largest_batch=2, packed=packed, **like)
    assert float(split.norm() / whole.norm()) == pytest.approx(1.0, abs=1e-4)
    assert torch.allclose(split, whole, atol=1e-6)


class InOneOrder(Trainer):
    """The library's Trainer as it is, but for the order of rows."""

    order = None

    def _get_train_sampler(self, train_dataset=None):
        return self.order


PLAIN = ({"weight_decay": 0.0, "warmup_ratio": 0.0}, {})
# Ours and theirs: what the library calls otherwise.
ASKED_FOR = (
    {"weight_decay": 0.3, "warmup_ratio": 0.4, "lr_scheduler": "cosine", "label_smoothing": 0.2},
    {"weight_decay": 0.3, "warmup_steps": 0.4, "lr_scheduler_type": "cosine", "label_smoothing_factor": 0.2},
)


@pytest.mark.parametrize(("family", "task_type"), MODELS, ids=lambda value: value)
@pytest.mark.parametrize(("our_names", "their_names"), [PLAIN, ASKED_FOR], ids=["plain", "with options"])
def test_with_the_same_batches_and_settings_our_weights_are_those_of_the_library(
    tmp_path, family, task_type, our_names, their_names
):
    like = {"learning_rate": 1e-2, "batch_size": 3, "epochs": 2, "early_stopping_patience": 0}
    arguments = trainer.training_arguments(
        Hyperparameters.from_spec({**like, **our_names}),
        seed=1,
        recipe=Recipe("cpu", "fp32"),
        output_dir=str(tmp_path / "ours"),
        largest_batch=None,
    )
    arguments.eval_strategy = arguments.save_strategy = "no"
    ours = engine_of(built_model(family, task_type), arguments, task_type)
    theirs = InOneOrder(
        model=built_model(family, task_type),
        args=TrainingArguments(
            str(tmp_path / "theirs"),
            learning_rate=1e-2,
            per_device_train_batch_size=3,
            num_train_epochs=2,
            use_cpu=True,
            remove_unused_columns=False,
            save_strategy="no",
            report_to="none",
            **their_names,
        ),
        train_dataset=ours.train_dataset,
        data_collator=lambda rows: ours.task.collate(rows, Padded(1)),
    )
    theirs.order = ours.order
    start = weights(ours.model)
    ours.train()
    theirs.train()
    moved = weights(theirs.model) - start
    assert float(moved.norm()) > 0.1
    assert float((weights(ours.model) - weights(theirs.model)).norm() / moved.norm()) < 1e-3


def weights(model):
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 3.0])], ids=["plain", "weighted"])
@pytest.mark.parametrize("shape", [(8,), (4, 6)], ids=["texts", "words"])
def test_the_smoothed_loss_and_its_gradient_are_those_of_torch(shape, weight):
    torch.manual_seed(0)
    labels = torch.randint(0, 3, shape)
    if len(shape) == 2:
        labels[:, ::2] = -100
    ours, theirs = (torch.randn(*shape, 3, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab")
    task = task_for("text_classification", ["a", "b", "c"])
    items = int((labels != -100).sum())
    found = task.loss(ours, labels, num_items_in_batch=items, weight=weight, label_smoothing=0.1)
    judge = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1, reduction="sum")
    expected = judge(theirs.reshape(-1, 3), labels.flatten()) / items
    found.backward()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)
    if weight is None:
        mean = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(theirs.reshape(-1, 3), labels.flatten())
        assert found.item() == pytest.approx(mean.item(), abs=1e-6)


def test_documents_of_several_windows_accumulate_alike(tmp_path):
    whole = gradient(tmp_path / "a", "bert", "text_classification", largest_batch=None, windows=True)
    split = gradient(tmp_path / "b", "bert", "text_classification", largest_batch=2, windows=True)
    assert torch.allclose(split, whole, atol=1e-6)


def test_windows_of_a_document_are_averaged():
    logits = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    pooled = task_for("text_classification", ["a", "b"]).pool(logits, [2, 1])
    assert pooled.tolist() == [[2.0, 1.0], [5.0, 5.0]]


def test_balanced_weights_lift_rare_classes_and_keep_the_mean_of_the_rows_at_one():
    counts = np.array([90, 10, 0])
    weights = balanced_weights(counts)
    assert weights.tolist() == pytest.approx([100 / 180, 5.0, 0.0])
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0)


def test_a_label_that_the_run_does_not_know_names_the_row_and_not_the_text():
    with pytest.raises(Exception, match="Row 9") as refused:
        task_for("text_classification", ["a"]).label_counts([Record(9, text="segredo", label="b")])
    assert "segredo" not in str(refused.value)


LENGTHS = np.random.default_rng(0).integers(5, 500, 1_000).tolist()


@pytest.mark.parametrize("grouped", [True, False], ids=["grouped", "random"])
def test_the_order_is_fixed_by_seed_and_epoch_and_has_every_row(grouped):
    order = RowOrder(LENGTHS, batch_size=8, seed=7, grouped=grouped)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    order.set_epoch(0)
    assert list(order) == first != second
    assert sorted(second) == list(range(1_000))


def test_a_grouped_order_saves_padding():
    order = list(RowOrder(LENGTHS, batch_size=8, seed=7, grouped=True))
    padded = sum(max(LENGTHS[i] for i in order[at : at + 8]) * 8 for at in range(0, 1_000, 8))
    assert sum(LENGTHS) / padded > 0.9


def test_an_order_that_is_not_grouped_does_not_look_at_lengths():
    orders = [RowOrder(lengths, batch_size=8, seed=7, grouped=False) for lengths in (LENGTHS, LENGTHS[::-1])]
    assert list(orders[0]) == list(orders[1])


@pytest.mark.parametrize(
    ("task_type", "layout", "grouped"),
    [
        ("text_classification", Packed(0), False),
        ("text_classification", Padded(0), True),
        ("token_classification", Packed(0), False),
        ("token_classification", Padded(0), False),
    ],
)
def test_only_padded_texts_with_one_label_are_grouped_by_length(task_type, layout, grouped):
    encoded = SimpleNamespace(features=[{"length": 5}] * 4)
    prepared = SimpleNamespace(
        encoded=dict.fromkeys(attempt.PARTS, encoded),
        hyper=Hyperparameters(),
        spec=SimpleNamespace(seed=1),
        task=task_for(task_type, ["O"]),
    )
    order, _ = attempt._work(prepared, layout)
    assert order.grouped is grouped
