"""Texts that are longer than the model reads: nothing is lost that need not be, and no word is tagged twice."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_client.training.framing import Frame, own_views


def frame(long_text: str, *, max_length: int = 12, overlap: int = 4) -> Frame:
    return Frame(prefix=(101,), suffix=(102,), max_length=max_length, long_text=long_text, overlap=overlap)


@pytest.mark.parametrize("long_text", ["truncate", "head_tail", "windows"])
def test_a_text_that_fits_is_one_view_and_whole(long_text):
    (view,) = frame(long_text).views(10)
    assert view.tolist() == list(range(10))


def test_truncate_keeps_the_beginning():
    assert frame("truncate").views(30)[0].tolist() == list(range(10))


def test_head_tail_keeps_both_ends():
    assert frame("head_tail").views(30)[0].tolist() == [0, 1, *range(22, 30)]


@given(length=st.integers(11, 200), overlap=st.integers(0, 5))
def test_windows_are_full_overlap_as_asked_and_cover_the_text(length, overlap):
    views = frame("windows", overlap=overlap).views(length)
    assert {len(view) for view in views} == {10}
    assert set(np.concatenate(views)) == set(range(length))
    assert all(after[0] <= before[-1] + 1 - overlap for before, after in pairwise(views))


def test_special_tokens_stand_around_the_text():
    assert frame("truncate").dress(np.array([7, 8])).tolist() == [101, 7, 8, 102]


@given(length=st.integers(1, 200), long_text=st.sampled_from(["truncate", "head_tail", "windows"]))
def test_every_position_that_is_read_has_one_owner(length, long_text):
    views = frame(long_text).views(length)
    owner = own_views(np.arange(length), views, length)
    read = set(np.concatenate(views))
    assert {at for at in range(length) if owner[at] >= 0} == read
    assert all(at in views[owner[at]] for at in read)


def test_a_word_belongs_to_the_window_that_shows_most_of_its_surroundings():
    views = frame("windows").views(16)  # 0-9 and 6-15
    assert own_views(np.array([0, 7, 8, 15]), views, 16).tolist() == [0, 0, 1, 1]
