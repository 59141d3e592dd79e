"""Texts in one row without padding, for the library's own models: each text attends to itself and to nothing else.

The models are left as they are. They hand the lengths of the texts on to the attention function, which the library
lets one register, and to hooks that give the head of a text classifier one vector per text instead of per row, and
compute no other in the last layer: of MiniLM that is a seventh of the work, of BERT-base half as much.
A model that did not do so would mix the texts without a word. So nothing is believed: before every use the packed
answers and gradients of a few texts are compared with those of each text alone, and on a GPU its kernel with the
plain computation (`layout_for`).
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from worker_client.training.base_models import first_position
from worker_client.training.batches import Layout, Packed, Padded, moved
from worker_client.training.layers import last_layer

logger = logging.getLogger(__name__)

_OF_BERT = ("key", "value")
# Whose text classifiers read the first sub-token alone, and what their attention makes keys and values with.
FIRST_IS_READ = {
    "bert": _OF_BERT,
    "camembert": _OF_BERT,
    "distilbert": ("k_lin", "v_lin"),
    "electra": _OF_BERT,
    "roberta": _OF_BERT,
    "xlm-roberta": _OF_BERT,
}
FAMILIES = (*FIRST_IS_READ, "modernbert")
SAMPLE_TEXTS = 3
SAMPLE_LENGTH = 96  # beyond what the local attention of ModernBERT sees to one side, 64
ROUNDING = 1e-5  # of the length of a vector, in fp32
TIMES_PADDED = 4  # packed answers may be so many times as far from the exact ones as padded answers are
HALF_ROUNDING = 2e-2  # of the length of a vector, in bf16


def layout_for(model: Any, texts: Sequence[np.ndarray], *, pad_id: int, dtype: torch.dtype) -> Layout:
    """Packed where `model`, on its device, gives the same answers and gradients so; else padded, and a line says why.

    texts: some of those that it will see, as sub-token ids with special tokens. dtype: of the arithmetic.
    """
    padded = Padded(pad_id)
    why_not = f"{model.config.model_type} models are not known to take them"
    if model.config.model_type in FAMILIES:
        packed = Packed(first_position(model))
        teach(model)
        why_not = _refutation(model, _sample(texts), padded, packed, dtype)
        if not why_not:
            return packed
        model.set_attn_implementation("sdpa")
    logger.info("Batches are padded: %s", why_not)
    return padded


def teach(model: Any) -> None:
    """Let a model of FAMILIES take batches of both layouts."""
    model.set_attn_implementation("packed")
    if "SequenceClassification" in type(model).__name__:
        # BERT pools behind its encoder and within its base model, the others behind the base model.
        encoder = getattr(model.base_model, "encoder", model.base_model)
        encoder.register_forward_hook(_one_vector_per_text, with_kwargs=True)
        if model.config.model_type in FIRST_IS_READ:
            last_layer(model).register_forward_pre_hook(_only_what_is_read, with_kwargs=True)


def _only_what_is_read(layer: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(1, sub-tokens, width) becomes (1, texts, width), the first of each; `_attention` lets them see all others.

    Gradient checkpointing must not be the reentrant kind: a gradient flows through a named argument.
    """
    if "text_starts" not in kwargs:
        return args, kwargs
    row, *others = args
    first = row.index_select(1, kwargs["text_starts"][:-1])
    return (first, *others), {**kwargs, "seen": row}


def _one_vector_per_text(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """(1, sub-tokens or texts, width) becomes (texts, 1, width): what heads take the first position of, or the mean."""
    if "text_starts" in kwargs:
        hidden = output.last_hidden_state[0]
        if getattr(module.config, "classifier_pooling", "cls") == "mean":
            vectors = torch.stack([text.mean(dim=0) for text in hidden.split(kwargs["text_lengths"])])
        elif len(hidden) > len(kwargs["text_lengths"]):
            vectors = hidden.index_select(0, kwargs["text_starts"][:-1])
        else:
            vectors = hidden
        output.last_hidden_state = vectors.unsqueeze(1)
    return output


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    text_lengths: list[int] | None = None,
    text_starts: torch.Tensor | None = None,
    seen: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query, key, value: (1, heads, sub-tokens, width). Returns (1, sub-tokens, heads, width) and no weights.

    sliding_window: how far a sub-token sees to both sides, plus one. seen: the whole row, where the others and the
    answer are only of the first of each text. Padded batches take the library's way.
    """
    if text_lengths is None or text_starts is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    if seen is not None:
        key, value = _keys_and_values(module, seen, query)
    reach = -1 if sliding_window is None else sliding_window - 1
    if query.is_cuda and query.dtype != torch.float32:
        return _flash(query, key, value, text_lengths, text_starts, dropout, scaling, reach), None
    return _text_by_text(query, key, value, text_lengths, dropout, scaling, reach), None


def _keys_and_values(module: Any, row: torch.Tensor, query: torch.Tensor) -> Iterator[torch.Tensor]:
    """Of a whole row (1, sub-tokens, width of the model): (1, heads, sub-tokens, width of `query`)."""
    for name in FIRST_IS_READ[module.config.model_type]:
        projected = getattr(module, name)(row)
        yield projected.view(1, row.shape[1], query.shape[1], query.shape[3]).transpose(1, 2)


def _query_lengths(query: torch.Tensor, lengths: list[int]) -> list[int]:
    """How many of the queries are of each text: all, or one."""
    return lengths if query.shape[2] == sum(lengths) else [1] * len(lengths)


def _text_by_text(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: list[int],
    dropout: float,
    scaling: float | None,
    reach: int,
) -> torch.Tensor:
    """The plain way. In scoring, neighbours of one length share a call; padding others would cost a processor more.

    With dropout torch computes step by step, and what it keeps of many texts is more than a cache holds.
    """
    runs = [(length, 1) for length in lengths] if dropout else [(n, len(list(run))) for n, run in groupby(lengths)]
    counts, rows = [count for _, count in runs], [length * count for length, count in runs]
    asked = rows if _query_lengths(query, lengths) is lengths else counts
    texts = zip(counts, query.split(asked, dim=2), key.split(rows, dim=2), value.split(rows, dim=2), strict=True)
    outputs = []
    for count, *parts in texts:
        q, k, v = (_text_per_row(part, count) for part in parts)
        output = scaled_dot_product_attention(q, k, v, attn_mask=_band(q, reach), dropout_p=dropout, scale=scaling)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).unsqueeze(0)


def _text_per_row(part: torch.Tensor, count: int) -> torch.Tensor:
    """(1, heads, count * length, width) becomes (count, heads, length, width)."""
    return part[0].unflatten(1, (count, -1)).transpose(0, 1)


def _band(query: torch.Tensor, reach: int) -> torch.Tensor | None:
    """Which positions see each other in local attention, or None where all do."""
    length = query.shape[2]
    if reach < 0 or length <= reach + 1:
        return None
    at = torch.arange(length, device=query.device)
    return (at[:, None] - at[None, :]).abs() <= reach


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: list[int],
    starts: torch.Tensor,
    dropout: float,
    scaling: float | None,
    reach: int,
) -> torch.Tensor:
    """For GPUs: the kernel for texts of any length that torch brings along. bf16 and fp16 only, Ampere and newer.

    The operator is called directly because its public form, torch.nn.attention.varlen, has no dropout.
    """
    of_queries = _query_lengths(query, lengths)
    output = torch.ops.aten._flash_attention_forward(
        *(tensor[0].transpose(0, 1) for tensor in (query, key, value)),
        starts if of_queries is lengths else torch.arange(len(starts), dtype=starts.dtype, device=starts.device),
        starts,
        max(of_queries),
        max(lengths),
        dropout,
        False,
        False,
        scale=scaling,
        window_size_left=reach,
        window_size_right=reach,
    )[0]
    return output.unsqueeze(0)


def _mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """None where there is no padding: a mask of a packed row would be as large as the row squared."""
    return None if attention_mask is None else sdpa_mask(*args, attention_mask=attention_mask, **kwargs)


AttentionInterface.register("packed", _attention)
AttentionMaskInterface.register("packed", _mask)


def _sample(texts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A few texts from the shortest to the longest, cut so that the comparison costs next to nothing."""
    by_length = sorted(texts, key=len)
    chosen = np.linspace(0, len(by_length) - 1, SAMPLE_TEXTS).astype(int)
    return [by_length[at][:SAMPLE_LENGTH] for at in chosen]


def _refutation(model: Any, texts: list[np.ndarray], padded: Padded, packed: Packed, dtype: torch.dtype) -> str:
    """Why packed batches must not be used, or nothing."""
    on_gpu = model.device.type == "cuda"
    if on_gpu and dtype == torch.float32:
        return "GPUs have no kernel for packed ones in fp32"
    was_training = model.training
    model.eval()
    try:
        lengths = [len(text) for text in texts]
        return _mixture(model, texts, padded, packed) or (_faulty_kernel(model, lengths, dtype) if on_gpu else "")
    except (RuntimeError, TypeError, ValueError, AttributeError) as problem:
        return f"packed ones fail ({type(problem).__name__}: {(str(problem).splitlines() or [''])[0]})"
    finally:
        model.train(was_training)


def _mixture(model: Any, texts: list[np.ndarray], padded: Padded, packed: Packed) -> str:
    """Whether the model keeps the texts apart and counts positions aright. The truth is each text alone, in fp32."""
    alone = [_answers(model, padded, [text]) for text in texts]
    truth = torch.cat([answer for answer, _ in alone]), torch.stack([gradient for _, gradient in alone]).sum(dim=0)
    usual, unusual = (_answers(model, layout, texts) for layout in (padded, packed))
    for what, exact, near, found in zip(("answers", "gradients"), truth, usual, unusual, strict=True):
        allowed = ROUNDING + TIMES_PADDED * _distance(near, exact)
        if not _distance(found, exact) <= allowed:
            return f"the {what} of packed ones are off by {_distance(found, exact):.1e}, {allowed:.1e} is allowed"
    return ""


def _answers(model: Any, layout: Layout, texts: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """All logits in the order of the texts, and a gradient that comes from all of them through all layers."""
    batch = moved(layout.inputs(texts), model.device)
    logits = model(**batch).logits
    if logits.dim() == 3:
        logits = logits[batch["attention_mask"].bool() if "attention_mask" in batch else ...]
    first_norm = next(weight for name, weight in model.named_parameters() if "norm" in name.lower())
    (gradient,) = torch.autograd.grad(logits.square().sum(), first_norm)
    return logits.detach().flatten(), gradient


def _faulty_kernel(model: Any, lengths: list[int], dtype: torch.dtype) -> str:
    """Whether the kernel computes what the plain way does; on random numbers, where a mistake is large."""
    config = model.config
    shape = (1, config.num_attention_heads, sum(lengths), config.hidden_size // config.num_attention_heads)
    starts = torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32, device=model.device)
    dropout = getattr(config, "attention_probs_dropout_prob", 0.0) or getattr(config, "attention_dropout", 0.0)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        q, k, v = (torch.randn(shape, device=model.device, dtype=dtype, requires_grad=True) for _ in range(3))
        first = q.detach()[:, :, starts[:-1]].requires_grad_()
        for queries, reach in {(q, -1), (q, getattr(config, "sliding_window", None) or -1), (first, -1)}:
            plain = _text_by_text(queries.float(), k.float(), v.float(), lengths, 0.0, None, reach)
            exact = _with_gradients((queries, k, v), plain)
            found = _with_gradients((queries, k, v), _flash(queries, k, v, lengths, starts, 0.0, None, reach))
            if not (gap := max(map(_distance, found, exact))) <= HALF_ROUNDING:
                return f"this GPU's kernel is off by {gap:.1e}"
        kept = float(_flash(q, k, torch.ones_like(v), lengths, starts, dropout, None, -1).detach().float().mean())
    return "" if abs(kept - 1) <= 0.1 else f"this GPU's kernel drops out {dropout:g} and keeps {kept:.2f} of the whole"


def _with_gradients(inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> list[torch.Tensor]:
    gradients = torch.autograd.grad(output.float().square().sum(), inputs)
    return [output.detach().float(), *(gradient.float() for gradient in gradients)]


def _distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Of two vectors, as a share of the length of the exact one."""
    return float((found - exact).norm() / exact.norm())
