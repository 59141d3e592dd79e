"""Equal and nearly equal texts: what is found, what is left alone, and that order and machine change nothing."""

import random
import time
from collections import Counter

import pytest

from worker_client.formats.batch import Batch
from worker_client.formats.likeness import Likeness, shape_of

# Syllables make words that look like words: many different ones of a few letters.
SYLLABLES = [c + v for c in ("b", "c", "d", "f", "l", "m", "n", "p", "r", "s", "t", "v") for v in "aeiou"]


def vocabulary(rng: random.Random, size: int = 4_000) -> list[str]:
    return ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(size)]


def random_texts(count: int, words: int, seed: int = 1) -> list[str]:
    """Texts of a few frequent and many rare words, as real ones are."""
    rng = random.Random(seed)
    known = vocabulary(rng)
    weights = [1 / (rank + 1) for rank in range(len(known))]
    return [" ".join(rng.choices(known, weights, k=words)) for _ in range(count)]


def edited(text: str, changes: int, rng: random.Random) -> str:
    """The text with so many words replaced, all in one passage or far apart."""
    words = text.split()
    for place in rng.sample(range(len(words)), changes):
        words[place] = "".join(rng.choices(SYLLABLES, k=3))
    return " ".join(words)


def families(texts: list[str]) -> list[int]:
    known = Likeness()
    known.add(batch(texts))
    known.settle()
    return known.family.tolist()


def batch(texts: list[str]) -> Batch:
    return Batch(range(len(texts)), texts, [""] * len(texts))


@pytest.mark.parametrize(("words", "changes"), [(12, 0), (40, 1), (70, 2), (400, 12)])
def test_planted_near_duplicates_are_found_and_nothing_else(words: int, changes: int) -> None:
    """Recall of pairs that differ in 3 words of 100, and precision: no two unrelated texts are joined."""
    rng = random.Random(words)
    texts = random_texts(1_500, words)
    copies = [edited(text, changes, rng).upper() + " 2021." for text in texts[:300]]
    family = families([*texts, *copies])
    found = sum(family[1_500 + i] == family[i] for i in range(300))
    wrong = sum(size - 1 for size in Counter(family).values()) - found
    assert found / 300 >= 0.9
    assert wrong <= 3


def test_texts_that_share_half_of_their_words_are_not_near() -> None:
    rng = random.Random(3)
    texts = random_texts(300, 70)
    family = families([*texts, *(edited(text, 35, rng) for text in texts)])
    assert sum(size > 1 for size in Counter(family).values()) <= 3


def test_a_passage_in_front_leaves_texts_alike() -> None:
    texts = random_texts(50, 80, seed=4)
    family = families([*texts, *(f"Vistos e relatados estes autos. {text}" for text in texts)])
    assert sum(family[50 + i] == family[i] for i in range(50)) >= 47


def test_families_are_the_same_in_any_order() -> None:
    rng = random.Random(9)
    texts = random_texts(200, 40)
    texts += [edited(text, 1, rng) for text in texts[:80]] + texts[:20]
    order = list(range(len(texts)))
    rng.shuffle(order)
    one, other = families(texts), families([texts[i] for i in order])
    back = dict(zip(order, other, strict=True))
    pairs = [(i, j) for i in range(len(texts)) for j in range(i)]
    assert any(one[i] == one[j] for i, j in pairs)
    assert all((one[i] == one[j]) == (back[i] == back[j]) for i, j in pairs)


def test_equal_texts_know_their_first_row() -> None:
    known = Likeness()
    known.add(batch(["um", "dois", "um"]))
    known.add(batch(["dois", "três"]))
    known.settle()
    assert known.first.tolist() == [0, 1, 0, 1, 4]


def test_a_text_has_the_same_mark_beside_any_other() -> None:
    alone, beside = batch(["ação", "fim"]), batch(["ação", "日本", "fim"])
    assert beside.marks[[0, 2]].tolist() == alone.marks.tolist()


def test_a_badly_decoded_text_is_not_the_same_as_the_right_one() -> None:
    assert len(set(batch(["traço –", "traço –".encode().decode("latin-1")]).marks.tolist())) == 2


def test_short_texts_that_differ_in_a_number_are_not_joined() -> None:
    assert families(["Art. 1", "Art. 2", "sim", "SIM"]) == [0, 1, 2, 3]


def test_a_template_in_thousands_of_rows_costs_no_square() -> None:
    rng = random.Random(2)
    template = random_texts(1, 60)[0]
    texts = [edited(template, 3, rng) for _ in range(6_000)]
    started = time.process_time()
    family = families(texts)
    assert time.process_time() - started < 5
    assert Counter(family).most_common(1)[0][1] > 5_000


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ação nº 1", "ACAO N° 22"),
        ("“aspas” – traço…", "aspas - traco"),
        ("\u0645\u0631\u062d\u0628\u0627 ação", "\u0645\u0631\u062d\u0628\u0627, ACAO!"),
        ("æ ªº ß", "Æ – ao s \u2212"),
    ],
)
def test_the_shape_of_a_text_is_the_same_in_every_encoding(one: str, other: str) -> None:
    assert shape_of(one).replace(b"no", b"n") == shape_of(other).replace(b"no", b"n")


def test_different_letters_have_different_shapes() -> None:
    texts = ["ação", "acto", "“ação” b", "\u0645\u0631", "\u0631\u0645", "日本", "本日"]
    assert len({shape_of(text) for text in texts}) == len(texts)
