"""tiny-bert is made of the training texts; other base models come from a folder and never from the network."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tests.worker_client.training_factories import SIGNS, make_spec, text_rows
from worker_client.errors import FailureReason, TrainingFailed
from worker_client.formats import Record
from worker_client.training import base_models
from worker_client.training.tasks import task_for

TASK = task_for("text_classification", list(SIGNS))
RECORDS = [Record(row, text=text, label=label) for row, (text, label) in enumerate(text_rows(60), start=2)]


def load(tmp_path, **changes):
    return base_models.load_base_model(make_spec(tmp_path, [], **changes), TASK, RECORDS)


def test_tiny_bert_knows_the_words_of_the_training_texts(tmp_path):
    tokenizer = load(tmp_path).tokenizer
    assert tokenizer.tokenize("processo arquivado em audiência")[:2] == ["processo", "arquivado"]
    ids = tokenizer([record.text for record in RECORDS], add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in {piece for row in ids for piece in row}


def test_the_same_texts_give_the_same_vocabulary_in_any_order(tmp_path):
    texts = [record.text for record in RECORDS] * 3
    vocabularies = []
    for seed in range(4):
        random.Random(seed).shuffle(texts)
        vocabularies.append(list(base_models._learn_vocabulary(iter(texts)).items()))
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)


def test_labels_keep_the_order_of_the_dataset_and_those_without_rows_stay(tmp_path):
    task = task_for("text_classification", ["Suspenso", "Nunca visto", "Ativo"])
    model = base_models.load_base_model(make_spec(tmp_path, []), task, RECORDS).model
    assert model.config.id2label == {0: "Suspenso", 1: "Nunca visto", 2: "Ativo"}


@pytest.fixture
def folder(tmp_path):
    """A base model as it is published: another head, its own limit, a tokenizer beside."""
    made = load(tmp_path)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(made.tokenizer), max_position_embeddings=40, **small)
    folder = tmp_path / "base"
    BertForMaskedLM(config).save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return folder


def from_folder(tmp_path, folder):
    return load(tmp_path, base_model="neuralmind/bert-base-portuguese-cased", base_model_dir=str(folder))


def test_a_base_model_is_loaded_from_its_folder_with_its_own_limit(tmp_path, folder):
    base = from_folder(tmp_path, folder)
    assert isinstance(base.model, BertForSequenceClassification)
    assert (base.limit, base.model.config.num_labels) == (40, 3)
    assert base.model.dtype == torch.float32


def test_the_limit_is_the_models_and_not_what_an_earlier_fine_tuning_left_in_the_tokenizer(tmp_path, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 20
    tokenizer.save_pretrained(folder)
    assert from_folder(tmp_path, folder).limit == 40


def test_a_model_fine_tuned_for_several_labels_at_once_answers_with_one(tmp_path, folder):
    config = BertConfig.from_pretrained(folder, num_labels=5, problem_type="multi_label_classification")
    BertForSequenceClassification(config).save_pretrained(folder)
    config = from_folder(tmp_path, folder).model.config
    assert (config.problem_type, config.num_labels) == ("single_label_classification", 3)


def without_a_layer(weights):
    return {name: value for name, value in weights.items() if ".layer.0." not in name}


def of_another_kind(weights):
    return {f"other.{name}": value for name, value in weights.items()}


def of_fewer_words(weights):
    name = "bert.embeddings.word_embeddings.weight"
    return {**weights, name: weights[name][:9].clone()}


@pytest.mark.parametrize("change", [without_a_layer, of_another_kind, of_fewer_words])
def test_weights_that_leave_a_part_of_the_encoder_random_are_refused(tmp_path, folder, change):
    weights = change(load_file(folder / "model.safetensors"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingFailed, match="of the encoder's weights, bert") as failure:
        from_folder(tmp_path, folder)
    assert failure.value.reason == FailureReason.BASE_MODEL_UNAVAILABLE


def test_a_missing_folder_is_base_model_unavailable(tmp_path):
    with pytest.raises(TrainingFailed, match="folder is not there") as failure:
        from_folder(tmp_path, tmp_path / "nowhere")
    assert failure.value.reason == FailureReason.BASE_MODEL_UNAVAILABLE


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_that_cannot_be_loaded_is_base_model_unavailable(tmp_path, folder, name):
    (folder / name).write_bytes(b"cut short")
    with pytest.raises(TrainingFailed) as failure:
        from_folder(tmp_path, folder)
    assert failure.value.reason == FailureReason.BASE_MODEL_UNAVAILABLE


def test_a_tokenizer_that_knows_nothing_of_the_texts_is_refused(tmp_path, folder):
    letters = {piece: at for at, piece in enumerate(base_models.SPECIAL_TOKENS)}
    base_models._tokenizer_of(letters).save_pretrained(folder)
    with pytest.raises(TrainingFailed, match="does not know 100%"):
        from_folder(tmp_path, folder)


def test_a_tokenizer_that_cannot_pad_is_refused(tmp_path, folder):
    backend = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]").save_pretrained(folder)
    with pytest.raises(TrainingFailed, match="no token for padding"):
        from_folder(tmp_path, folder)


def byte_level():
    """A tokenizer whose vocabulary holds the space before a word, as those of RoBERTa and ModernBERT."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([record.text for record in RECORDS], trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return backend


def of_roberta(backend):
    model = json.loads(backend.to_str())["model"]
    return RobertaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


def of_no_class(backend):
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


@pytest.mark.parametrize("make", [of_roberta, of_no_class])
def test_words_of_entities_are_read_as_in_a_text_by_the_run_and_by_the_exported_model(tmp_path, folder, make):
    make(byte_level()).save_pretrained(folder)
    spec = make_spec(tmp_path, [], base_model="some/model", base_model_dir=str(folder))
    words = ["processo", "arquivado", "hoje"]
    tokenizer = base_models._load_tokenizer(spec, task_for("token_classification", ["O", "B-X"]))
    by_word = tokenizer(words, is_split_into_words=True)["input_ids"]
    tokenizer.save_pretrained(tmp_path / "exported")
    exported = AutoTokenizer.from_pretrained(tmp_path / "exported")
    assert by_word == exported(" ".join(words))["input_ids"]
    assert by_word[1:-1] == make(byte_level())(" " + " ".join(words))["input_ids"][1:-1]


def test_positions_that_roberta_keeps_for_padding_do_not_count():
    config = XLMRobertaConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    config.max_position_embeddings = 34
    assert base_models.position_limit(XLMRobertaModel(config)) == 32


class TouchOnLoad:
    """A pickle that does something when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled(folder, **extra):
    """The folder with its weights as PyTorch once saved them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, **extra}, folder / "pytorch_model.bin")


def test_pickled_weights_are_loaded_as_they_are(tmp_path, folder):
    saved = load_file(folder / "model.safetensors")
    pickled(folder)
    model = from_folder(tmp_path, folder).model
    name = next(name for name in saved if name.endswith("word_embeddings.weight"))
    assert torch.equal(model.base_model.embeddings.word_embeddings.weight, saved[name])


def test_pickled_weights_that_bring_code_are_refused_and_not_run(tmp_path, folder):
    pickled(folder, harm=TouchOnLoad(tmp_path / "harm"))
    with pytest.raises(TrainingFailed) as failed:
        from_folder(tmp_path, folder)
    assert failed.value.reason == FailureReason.BASE_MODEL_UNAVAILABLE
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("model_type", ["bert", "never-heard-of"])
def test_code_in_a_base_model_is_never_run(tmp_path, folder, model_type):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": model_type, "architectures": ["Mine"], "trust_remote_code": True}
    config["auto_map"] = {name: f"mine.{name}" for name in ("AutoConfig", "AutoModelForSequenceClassification")}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    try:
        from_folder(tmp_path, folder)
    except TrainingFailed as failed:
        assert failed.reason == FailureReason.BASE_MODEL_UNAVAILABLE
    else:
        assert model_type == "bert", "a known architecture is built from the library's own code"
    assert not (tmp_path / "harm").exists()
