"""Several texts in one row give what each gives in a row of its own; a model or GPU that cannot do so is found out."""

import logging

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from worker_client.training import packing, trainer
from worker_client.training.base_models import first_position
from worker_client.training.batches import Packed, Padded, moved
from worker_client.training.encoding import Feature
from worker_client.training.scoring import answers, batches
from worker_client.training.tasks import task_for

SHAPE = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_labels": 3,
    "pad_token_id": 1,
}
SPECIAL = {"bos_token_id": 2, "eos_token_id": 2, "cls_token_id": 2, "sep_token_id": 2}
LOCAL = {"local_attention": 32, "attention_dropout": 0.1, **SPECIAL}
FAMILIES = {
    "bert": ("Bert", {"max_position_embeddings": 200}),
    "xlm-r": ("XLMRoberta", {"max_position_embeddings": 202}),
    "modernbert": ("ModernBert", {"classifier_pooling": "cls", **LOCAL}),
    "modernbert-mean": ("ModernBert", {"classifier_pooling": "mean", **LOCAL}),
    "roberta": ("Roberta", {"max_position_embeddings": 202}),
    "camembert": ("Camembert", {"max_position_embeddings": 202}),
    "electra": ("Electra", {"max_position_embeddings": 200, "embedding_size": 16}),
    "distilbert": ("DistilBert", {"max_position_embeddings": 200, "hidden_dim": 64}),
    "ernie": ("Ernie", {"max_position_embeddings": 200}),
}
SUPPORTED = [name for name in FAMILIES if name != "ernie"]
LATE = ("xlm-r", "roberta", "camembert")  # they count positions from 2
LENGTHS = (3, 150, 40, 40, 40, 90, 7, 7, 120)
TEXTS = [np.random.default_rng(at).integers(5, 99, length) for at, length in enumerate(LENGTHS)]
FP32 = torch.float32


def make(family: str, head: str = "SequenceClassification"):
    torch.manual_seed(0)
    name, own = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**{**SHAPE, **own})
    model = getattr(transformers, f"{name}For{head}")(config).eval()
    with torch.no_grad():  # large enough for attention to matter
        for weight in model.parameters():
            weight.mul_(3 if weight.dim() > 1 else 1)
    return model


def logits_and_gradients(model, layout):
    """Of a loss with a label for every text or position."""
    model.zero_grad()
    batch = layout.inputs(TEXTS)
    logits = model(**batch).logits
    if logits.dim() == 3:
        logits = logits[batch["attention_mask"].bool()] if "attention_mask" in batch else logits[0]
    cross_entropy(logits, torch.arange(len(logits)) % 3).backward()
    return logits.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def without_dropout(family, head):
    """In training mode, where gradient checkpointing works."""
    model = make(family, head)
    for module in model.modules():
        for name in ("p", "dropout_prob", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model.train()


@pytest.mark.parametrize("recomputes", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("family", SUPPORTED)
def test_logits_and_all_gradients_equal_those_of_padded_batches(family, head, recomputes):
    padded, padded_gradients = logits_and_gradients(without_dropout(family, head), Padded(1))
    model = without_dropout(family, head)
    packing.teach(model)
    if recomputes:
        getattr(model, f"{trainer._recomputation()}_enable")()
    packed, packed_gradients = logits_and_gradients(model, Packed(first_position(model)))
    assert packed.shape == padded.shape
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)
    for name, gradient in padded_gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("family", SUPPORTED)
def test_attention_over_packed_texts_drops_out_what_the_model_wants_in_training_and_nothing_in_scoring(
    family, monkeypatch
):
    wanted = []

    def noted(*tensors, dropout_p, **options):
        wanted.append(dropout_p)
        return scaled_dot_product_attention(*tensors, dropout_p=dropout_p, **options)

    monkeypatch.setattr(packing, "scaled_dot_product_attention", noted)
    model = make(family)
    packing.teach(model)
    for training, share, calls in ((True, 0.1, len(TEXTS)), (False, 0.0, 6)):  # neighbours of one length share one
        wanted.clear()
        model.train(training)(**Packed(first_position(model)).inputs(TEXTS))
        assert wanted == [share] * calls * SHAPE["num_hidden_layers"]


@pytest.mark.parametrize("family", SUPPORTED)
def test_a_model_that_was_taught_still_takes_padded_batches(family):
    model = make(family)
    before = model(**Padded(1).inputs(TEXTS)).logits
    packing.teach(model)
    assert torch.equal(model(**Padded(1).inputs(TEXTS)).logits, before)


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("family", packing.FIRST_IS_READ)
def test_of_the_last_layer_nothing_is_computed_that_the_head_does_not_read(family, head):
    model, seen = make("xlm-r" if family == "xlm-roberta" else family, head), []
    packing.teach(model)
    for layer in next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList)):
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape[1]))
    model(**Packed(first_position(model)).inputs(TEXTS))
    row = sum(map(len, TEXTS))
    assert seen == [row, row, row, len(TEXTS) if head == "SequenceClassification" else row]


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("family", SUPPORTED)
def test_the_families_that_are_known_get_packed_batches(family, head):
    model = make(family, head)
    assert packing.layout_for(model, TEXTS, pad_id=1, dtype=FP32) == Packed(2 if family in LATE else 0)


def refused(model, caplog, **changes):
    """The sentence of a run whose batches stay padded."""
    with caplog.at_level(logging.INFO):
        layout = packing.layout_for(model, TEXTS, pad_id=1, dtype=FP32)
    assert layout == Padded(1)
    assert model.config._attn_implementation == "sdpa"
    return caplog.messages[-1]


def test_another_family_gets_padded_batches_and_the_log_says_so(caplog):
    assert "ernie models are not known" in refused(make("ernie"), caplog)


def mixing(query, key, value, lengths, dropout, scaling, reach):
    """Attention over the whole row."""
    return scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2)


def failing(*_):
    raise RuntimeError("no kernel for this GPU")


@pytest.mark.parametrize("family", SUPPORTED)
@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
def test_attention_across_texts_is_found_out(family, head, monkeypatch, caplog):
    monkeypatch.setattr(packing, "_text_by_text", mixing)
    assert "are off by" in refused(make(family, head), caplog)


def test_positions_that_begin_where_they_must_not_are_found_out(monkeypatch, caplog):
    monkeypatch.setattr(packing, "first_position", lambda model: 0)
    assert "are off by" in refused(make("xlm-r"), caplog)


def test_attention_that_fails_is_no_failure_of_the_run(monkeypatch, caplog):
    monkeypatch.setattr(packing, "_text_by_text", failing)
    assert "no kernel for this GPU" in refused(make("bert"), caplog)


def by_hand(query, key, value, lengths, starts, dropout, scaling, reach):
    """What the GPU's kernel should compute."""
    return packing._text_by_text(query, key, value, lengths, dropout, scaling, reach)


@pytest.mark.parametrize(
    ("kernel", "found"),
    [
        (by_hand, ""),
        (lambda q, k, v, lengths, *rest: mixing(q, k, v, lengths, 0.0, None, -1), "off by"),
        (lambda *parts: by_hand(*parts[:-1], -1), "off by"),
        (lambda *parts: by_hand(*parts) * (1 - parts[5]), "keeps 0.5"),
        (lambda q, *parts: by_hand(q, *parts) * (1 if q.shape[2] > 3 else 0.9), "off by"),
    ],
    ids=["right", "across texts", "beyond the window", "dropout without a scale", "one query of each text"],
)
def test_a_kernel_is_believed_only_when_it_computes_what_the_plain_way_does(kernel, found, monkeypatch):
    monkeypatch.setattr(packing, "_flash", kernel)
    model = make("modernbert")
    model.config.attention_dropout = 0.5
    told = packing._faulty_kernel(model, [3, 90, 40], torch.bfloat16)
    assert told.startswith("this GPU") if found else told == ""
    assert found in told


@pytest.mark.parametrize("queries", [30, 2], ids=["all", "the first of each text"])
def test_the_kernel_of_the_installed_torch_takes_our_arguments_and_has_a_gradient(queries):
    query, row = (
        torch.empty(1, 4, count, 16, device="meta", dtype=torch.bfloat16, requires_grad=True) for count in (queries, 30)
    )
    starts = torch.empty(3, device="meta", dtype=torch.int32)
    output = packing._flash(query, row, row, [10, 20], starts, 0.1, 0.25, 64)
    output.float().sum().backward()
    assert (output.shape, query.grad.shape, row.grad.shape) == ((1, queries, 4, 16), query.shape, row.shape)


@pytest.mark.parametrize("queries", [30, 2], ids=["all", "the first of each text"])
def test_the_kernel_is_told_where_queries_and_keys_of_each_text_begin(queries, monkeypatch):
    told = []
    row, query = torch.empty(1, 4, 30, 16), torch.empty(1, 4, queries, 16)

    def noted(q, k, v, starts_q, starts_k, longest_q, longest_k, *rest, **options):
        told.extend([starts_q.tolist(), starts_k.tolist(), longest_q, longest_k])
        return (q,)

    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", noted)
    packing._flash(query, row, row, [10, 20], torch.tensor([0, 10, 30], dtype=torch.int32), 0.0, None, -1)
    assert told == [[0, 10, 30] if queries == 30 else [0, 1, 2], [0, 10, 30], 20 if queries == 30 else 1, 20]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("family", SUPPORTED)
def test_a_gpu_gets_packed_batches_in_half_precision(family, head):
    model = make(family, head).cuda()
    assert packing.layout_for(model, TEXTS, pad_id=1, dtype=torch.bfloat16).name == "packed"
    with torch.autocast("cuda", torch.bfloat16):
        logits = model(**moved(Packed(first_position(model)).inputs(TEXTS), model.device)).logits
    assert torch.isfinite(logits).all()


def documents() -> list[Feature]:
    """The longest first; some of several windows."""
    windows = [[TEXTS[1], TEXTS[5]], [TEXTS[1]], [TEXTS[5]], [TEXTS[3], TEXTS[2]], [TEXTS[4]], [TEXTS[0]]]
    return [{"windows": parts, "label": at % 3, "length": sum(map(len, parts))} for at, parts in enumerate(windows)]


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_scores_do_not_depend_on_the_layout_or_on_how_many_rows_fit(rows):
    task, model = task_for("text_classification", ["a", "b", "c"]), make("bert")
    packing.teach(model)
    alone = answers(model, task, documents(), Padded(1), rows=1)
    found = answers(model, task, documents(), Packed(0), rows=rows)
    np.testing.assert_allclose(np.stack(found), np.stack(alone), atol=1e-5)


def test_short_texts_share_the_room_of_a_long_one():
    task = task_for("text_classification", ["a", "b", "c"])
    made = [{"windows": [TEXTS[0]] * count} for count in (1, 1, 1)]
    sizes = [len(batch) for batch in batches(task, [{"windows": [TEXTS[1]]}, *made * 20], rows=1)]
    assert sizes == [1, 50, 10]


def test_on_a_processor_no_batch_is_larger_than_what_its_cache_holds():
    task, model, said = task_for("text_classification", ["a", "b", "c"]), make("bert"), []
    packing.teach(model)
    of_150 = [{"windows": [TEXTS[1]], "label": 0, "length": 150}] * 60  # 13 of them in 2,048 sub-tokens
    found = answers(model, task, of_150, Packed(0), rows=100, after_batch=lambda: said.append(1))
    assert (len(found), len(said)) == (60, 5)
