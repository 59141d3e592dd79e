"""Figures are those of scikit-learn and of seqeval's strict IOB2."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2
from sklearn.metrics import confusion_matrix, f1_score

from worker_client.training import metrics

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]

PAIRS = st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS))  # gold, predicted

CASES = {
    "equal": [["B-PER", "I-PER", "O"]],
    "entity cut short": [["B-PER", "O", "O"]],
    "wrong type inside": [["B-PER", "I-LOC", "O"]],
    "inside without begin": [["I-PER", "I-PER", "O"]],
    "two begins": [["B-PER", "B-PER", "O"]],
    "nothing found": [["O", "O", "O"]],
}


def seqeval_strict(gold, predicted):
    precision, recall, f1, _ = precision_recall_fscore_support(
        gold, predicted, average="micro", scheme=IOB2, zero_division=0
    )
    return precision, recall, f1


@pytest.mark.parametrize("predicted", CASES.values(), ids=CASES.keys())
def test_entity_figures_equal_seqeval_strict(predicted):
    gold = [["B-PER", "I-PER", "O"]]
    ours = metrics.entity_figures(gold, predicted)
    assert (ours["precision"], ours["recall"], ours["f1"]) == pytest.approx(seqeval_strict(gold, predicted), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8),
        min_size=1,
        max_size=5,
    )
)
def test_entity_figures_equal_seqeval_strict_on_any_tags(rows):
    gold, predicted = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    if not any(tag.startswith("B-") for row in gold + predicted for tag in row):
        assert metrics.entity_figures(gold, predicted)["f1"] == 0.0
        return
    ours = metrics.entity_figures(gold, predicted)
    assert (ours["precision"], ours["recall"], ours["f1"]) == pytest.approx(seqeval_strict(gold, predicted), abs=1e-9)


def test_token_accuracy_counts_words():
    assert metrics.entity_figures([["O", "B-PER"]], [["O", "O"]])["accuracy"] == 0.5


def test_macro_f1_equals_scikit_learn_and_ignores_classes_without_rows():
    gold, predicted = [0, 0, 1, 2, 2], [0, 1, 1, 2, 0]
    ours = metrics.classification_figures(gold, predicted)
    assert ours["f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert [row["support"] for row in metrics.per_class(gold, predicted, ["a", "b", "c", "d"])] == [2, 1, 2, 0]


def test_the_confusion_matrix_has_gold_in_rows():
    assert metrics.confusion([0, 0, 1], [0, 1, 1], ["a", "b"]).table(2) == {
        "labels": ["a", "b"],
        "counts": [[1, 1], [0, 1]],
    }


def test_beyond_so_many_labels_the_table_names_them_and_has_no_counts():
    assert metrics.confusion([0], [1], ["a", "b"]).table(1) == {"labels": ["a", "b"], "counts": []}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_the_confusion_matrix_is_that_of_scikit_learn(pairs):
    gold, predicted = zip(*pairs, strict=True)
    found = list(metrics.confusion(gold, predicted, "abcde").rows())
    assert found == confusion_matrix(gold, predicted, labels=range(5)).tolist()


def test_the_baseline_answers_the_majority_of_the_training_part():
    assert metrics.majority_figures([1, 1, 0], [0, 1])["accuracy"] == 0.5


def test_log_loss_is_the_mean_of_the_gold_probabilities():
    assert metrics.log_loss(np.array([[0.5, 0.5], [0.25, 0.75]]), [0, 1]) == pytest.approx(-np.log([0.5, 0.75]).mean())


@given(st.lists(st.sampled_from(TAGS), max_size=10))
def test_repaired_tags_are_valid_bio_and_valid_tags_stay(tags):
    repaired = metrics.repair_tags(tags)
    for before, tag in zip(["O", *repaired], repaired, strict=False):
        assert not tag.startswith("I-") or before[2:] == tag[2:]
    assert metrics.repair_tags(repaired) == repaired
