"""A learning rate for each layer: every parameter once, the head at the run's rate, the embeddings lowest."""

import pytest
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DebertaV2Config,
    DebertaV2ForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForTokenClassification,
    EuroBertConfig,
    EuroBertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    Trainer,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from tests.worker_client.training_factories import figures_of, log_of, make_spec, make_workspace, text_rows
from worker_client.errors import ChildExit, FailureReason, TrainingFailed
from worker_client.training.__main__ import main
from worker_client.training.layers import check_layers, depths_below_head, parameter_groups

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
MODELS = [
    (BertConfig, BertForSequenceClassification),
    (BertConfig, BertForTokenClassification),
    (XLMRobertaConfig, XLMRobertaForSequenceClassification),
    (XLMRobertaConfig, XLMRobertaForTokenClassification),
    (ModernBertConfig, ModernBertForSequenceClassification),
    (ModernBertConfig, ModernBertForTokenClassification),
    (DistilBertConfig, DistilBertForSequenceClassification),
    (ElectraConfig, ElectraForTokenClassification),
    (DebertaV2Config, DebertaV2ForTokenClassification),
    (EuroBertConfig, EuroBertForSequenceClassification),
]
RATE, DECAY, SHRINKS = 1e-3, 0.5, 0.01


@pytest.fixture(params=MODELS, ids=lambda made: made[1].__name__)
def model(request):
    config, kind = request.param
    return kind(config(**SIZES))


def trainers_decayed(model, tmp_path):
    """The names that the library's Trainer gives weight decay."""
    return Trainer(model, TrainingArguments(str(tmp_path), use_cpu=True)).get_decay_parameter_names(model)


def groups_of(model, tmp_path):
    names = trainers_decayed(model, tmp_path)
    return parameter_groups(model, learning_rate=RATE, decay=DECAY, weight_decay=SHRINKS, decayed=names)


def test_every_parameter_is_in_exactly_one_group(model, tmp_path):
    grouped = [id(parameter) for group in groups_of(model, tmp_path) for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


def test_the_rate_falls_from_the_head_over_the_layers_to_the_embeddings(model, tmp_path):
    of = {id(parameter): group["lr"] for group in groups_of(model, tmp_path) for parameter in group["params"]}
    rates = {name: of[id(parameter)] for name, parameter in model.named_parameters()}
    layers = [".layer.0.", ".layer.1.", ".layer.2."]
    for name, rate in rates.items():
        inside = [at for at, part in enumerate(layers) if part in name.replace("layers", "layer")]
        steps = 3 - inside[0] if inside else 4 if "embed" in name else 0
        assert rate == RATE * DECAY**steps, name
    assert set(rates.values()) == {RATE * DECAY**steps for steps in range(5)}


def test_the_first_group_whose_rate_is_logged_has_the_rate_of_the_run(model, tmp_path):
    assert groups_of(model, tmp_path)[0]["lr"] == RATE


def test_biases_and_norms_have_no_weight_decay_as_with_the_library(model, tmp_path):
    decayed = {
        id(parameter)
        for group in groups_of(model, tmp_path)
        if group["weight_decay"] == SHRINKS
        for parameter in group["params"]
    }
    names = {name for name, parameter in model.named_parameters() if id(parameter) in decayed}
    assert names == set(trainers_decayed(model, tmp_path))
    assert not [name for name in names if name.endswith("bias") or "norm" in name.lower()]


def test_frozen_parameters_are_in_no_group(model, tmp_path):
    frozen = next(model.parameters()).requires_grad_(False)
    grouped = {id(parameter) for group in groups_of(model, tmp_path) for parameter in group["params"]}
    assert id(frozen) not in grouped


def test_a_model_whose_layers_are_one_is_refused_with_the_reason():
    shared = AlbertForSequenceClassification(AlbertConfig(**SIZES, embedding_size=8))
    check_layers(shared, 1.0)
    with pytest.raises(TrainingFailed, match="albert") as refused:
        check_layers(shared, 0.9)
    assert refused.value.reason == FailureReason.INVALID_DATA
    assert "layer_lr_decay 1" in refused.value.message


def test_depths_are_counted_from_the_head_down():
    depths = depths_below_head(BertForSequenceClassification(BertConfig(**SIZES)))
    assert depths["classifier.weight"] == depths["bert.pooler.dense.weight"] == 0
    assert depths["bert.encoder.layer.2.output.dense.weight"] == 1
    assert depths["bert.embeddings.word_embeddings.weight"] == 4


@pytest.mark.slow
def test_the_rate_of_the_run_is_the_one_that_is_told(tmp_path):
    like = {"epochs": 1, "layer_lr_decay": 0.5, "lr_scheduler": "constant", "warmup_ratio": 0, "learning_rate": 1e-3}
    workspace = make_workspace(tmp_path, make_spec(tmp_path, text_rows(60), hyperparameters=like))
    assert main([str(workspace.root)]) == ChildExit.COMPLETED, workspace.read_outcome().traceback
    assert figures_of(workspace)[0]["values"]["learning_rate"] == 1e-3
    assert "learning rate 1.00e-03" in log_of(workspace)
