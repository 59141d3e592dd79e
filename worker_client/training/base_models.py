"""The model and tokenizer that a run starts from. Nothing is fetched here: the parent did, or tiny-bert is made."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker_client.errors import FailureReason, TrainingFailed
from worker_client.formats import Record
from worker_client.protocol import BUILTIN_TINY_BERT, TrainingSpec
from worker_client.training.faults import is_memory
from worker_client.training.task import Task

logger = logging.getLogger(__name__)

VOCABULARY_SIZE = 4_000
TINY_BERT = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
}
UNKNOWN = "[UNK]"
SPECIAL_TOKENS = ["[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]"]
MOST_UNKNOWN = 0.2  # share of [UNK] in a sample beyond which a tokenizer does not fit the texts
SAMPLE_RECORDS = 200
UNLIMITED = 1_000_000  # tokenizers without a limit of their own say 1e30


@dataclass(frozen=True)
class BaseModel:
    """Ready to train: a classification head with the task's labels on top."""

    model: Any
    tokenizer: Any
    limit: int  # longest input in sub-tokens


def load_base_model(spec: TrainingSpec, task: Task, train: Sequence[Record]) -> BaseModel:
    """Build tiny-bert from the training texts, or load the folder that the parent prepared.

    Raises TrainingFailed(base_model_unavailable) when the folder is missing or cannot be loaded.
    """
    tokenizer = _tiny_tokenizer(task, train) if spec.base_model == BUILTIN_TINY_BERT else _load_tokenizer(spec, task)
    model = _tiny_model(task, len(tokenizer)) if spec.base_model == BUILTIN_TINY_BERT else _load_model(spec, task)
    _check_unknown(tokenizer, task, train)
    return BaseModel(model, tokenizer, _limit(model, tokenizer))


def label_maps(task: Task) -> dict[str, Any]:
    """`id2label` and `label2id` in the order of the dataset; labels without rows stay.

    problem_type: a base model that was fine-tuned before may bring another, by which pipelines choose how to score.
    """
    return {
        "id2label": dict(enumerate(task.labels)),
        "label2id": dict(task.ids),
        "problem_type": "single_label_classification",
    }


def _tiny_tokenizer(task: Task, train: Sequence[Record]) -> Any:
    return _tokenizer_of(_learn_vocabulary(task.text_of(record) for record in train))


def _tokenizer_of(vocabulary: dict[str, int]) -> Any:
    from transformers import BertTokenizer

    # Handed over as a dict: a `vocab_file` is silently ignored by transformers 5 and every word becomes [UNK].
    return BertTokenizer(vocab=vocabulary, do_lower_case=False)


def _learn_vocabulary(texts: Iterator[str]) -> dict[str, int]:
    """A WordPiece vocabulary, most frequent pieces first; the same texts give the same vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    learner = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    learner.normalizer = normalizers.BertNormalizer(lowercase=False)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    known = sorted(set(texts))
    # The library numbers the pieces `##x` in the order of a hash table, another in each process, and breaks ties by
    # these numbers. Named beforehand, they get fixed numbers, and a resumed run gets the vocabulary that it had.
    inner = [f"##{letter}" for letter in sorted({letter for text in known for letter in text if not letter.isspace()})]
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=[*SPECIAL_TOKENS, *inner], min_frequency=2, show_progress=False
    )
    learner.train_from_iterator(known, trainer)
    return dict(sorted(learner.get_vocab().items(), key=lambda item: item[1]))


def _tiny_model(task: Task, vocabulary_size: int) -> Any:
    import transformers

    config = transformers.BertConfig(vocab_size=vocabulary_size, pad_token_id=0, **TINY_BERT, **label_maps(task))
    return getattr(transformers, task.auto_class).from_config(config)


def _load_tokenizer(spec: TrainingSpec, task: Task) -> Any:
    tokenizer = _tokenizer_from_folder(spec)
    if not tokenizer.is_fast:
        raise _unavailable(spec, "it has no fast tokenizer")
    if tokenizer.pad_token_id is None:
        raise _unavailable(spec, "its tokenizer has no token for padding")
    if task.role == "tokens" and _glues_words(tokenizer):
        tokenizer = _with_spaces(_tokenizer_from_folder(spec, add_prefix_space=True))
    return tokenizer


def _tokenizer_from_folder(spec: TrainingSpec, **options: Any) -> Any:
    from transformers import AutoTokenizer

    folder = _folder(spec)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except Exception as problem:
        if is_memory(problem):
            raise
        raise _unavailable(spec, f"its tokenizer cannot be loaded ({type(problem).__name__})") from problem


def _glues_words(tokenizer: Any) -> bool:
    """Whether words given one by one become other pieces than in a text: byte-level vocabularies hold the space.

    Those of RoBERTa, ModernBERT and DeBERTa do. The model learned from texts, and the exported one will read texts.
    """
    backend = tokenizer.backend_tokenizer
    words, text = ["a", "a"], "a a"
    one_by_one = backend.encode(words, is_pretokenized=True, add_special_tokens=False).ids
    return bool(one_by_one != backend.encode(text, add_special_tokens=False).ids)


def _with_spaces(tokenizer: Any) -> Any:
    """The same with a space before every word; not every class hands `add_prefix_space` on to what it loads."""
    from tokenizers import pre_tokenizers

    first = tokenizer.backend_tokenizer.pre_tokenizer
    parts: Any = first if isinstance(first, pre_tokenizers.Sequence) else [first]
    for part in parts:
        if isinstance(part, pre_tokenizers.ByteLevel):
            part.add_prefix_space = True
    return tokenizer


def _load_model(spec: TrainingSpec, task: Task) -> Any:
    import torch
    import transformers

    try:
        model, told = getattr(transformers, task.auto_class).from_pretrained(
            _folder(spec),
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,  # master weights; `precision` decides what the arithmetic uses
            ignore_mismatched_sizes=True,  # a base model that was fine-tuned before brings a head of another size
            output_loading_info=True,
            **label_maps(task),
        )
    except Exception as problem:
        if is_memory(problem):
            raise
        raise _unavailable(spec, f"its weights cannot be loaded ({type(problem).__name__})") from problem
    if random := _left_random(model, told):
        raise _unavailable(spec, f"its files lack {len(random)} of the encoder's weights, {random[0]} for one")
    return model


def _left_random(model: Any, told: dict[str, Any]) -> list[str]:
    """Weights of the encoder that were not in the files, or of another shape. New heads, and poolers, are meant to be.

    told: the library's `loading_info`.
    """
    names = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
    encoder = f"{model.base_model_prefix}."
    return sorted(name for name in names if name.startswith(encoder) and ".pooler." not in name)


def _folder(spec: TrainingSpec) -> Path:
    if not spec.base_model_dir or not Path(spec.base_model_dir).is_dir():
        raise _unavailable(spec, "its folder is not there")
    return Path(spec.base_model_dir)


def _unavailable(spec: TrainingSpec, why: str) -> TrainingFailed:
    return TrainingFailed(
        FailureReason.BASE_MODEL_UNAVAILABLE,
        f"Base model {spec.base_model} cannot be used on this worker: {why}. "
        f"Copy it again below --base-models-dir, or remove {spec.base_model_dir or 'what is left of it'}: "
        "then the worker downloads it.",
    )


def _check_unknown(tokenizer: Any, task: Task, train: Sequence[Record]) -> None:
    """Raises TrainingFailed when the tokenizer turns the texts into [UNK], which would train on nothing."""
    sample = [task.text_of(record) for record in train[:SAMPLE_RECORDS]]
    ids = [piece for row in tokenizer(sample, add_special_tokens=False, verbose=False)["input_ids"] for piece in row]
    share = ids.count(tokenizer.unk_token_id) / max(len(ids), 1)
    if share > MOST_UNKNOWN:
        raise TrainingFailed(
            FailureReason.BASE_MODEL_UNAVAILABLE,
            f"The base model's vocabulary does not know {share:.0%} of the pieces of the training texts. "
            "Choose a base model for Portuguese, or check that its tokenizer files are complete.",
        )


def position_limit(model: Any) -> int:
    """Positions of the model less those that RoBERTa's relatives keep for padding (XLM-R: 514 gives 512)."""
    limit = getattr(model.config, "max_position_embeddings", None) or UNLIMITED
    return int(limit) - first_position(model)


def first_position(model: Any) -> int:
    """Where the model begins to count positions: 0, or behind those that RoBERTa's relatives keep for padding."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def _limit(model: Any, tokenizer: Any) -> int:
    """Longest input: the model's own limit. A tokenizer's may be only what an earlier fine-tuning chose."""
    if getattr(model.config, "max_position_embeddings", None):
        return position_limit(model)
    return int(min(tokenizer.model_max_length, UNLIMITED))
