"""Fit a sequence of sub-tokens into the length that a model reads: cut it, keep both ends, or cut windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

View = np.ndarray  # positions of the sub-tokens that one model input holds, in order

HEAD_SHARE = 0.25  # of a head_tail view: 128 of 510, the best of Sun et al. 2019, "How to Fine-Tune BERT"


@dataclass(frozen=True)
class Frame:
    """How long a model input may be and what stands around the text in it."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    max_length: int
    long_text: str
    overlap: int  # sub-tokens that neighbouring windows share

    @property
    def capacity(self) -> int:
        """Sub-tokens of text in one input."""
        return self.max_length - len(self.prefix) - len(self.suffix)

    def views(self, length: int) -> list[View]:
        """The inputs that a text of `length` sub-tokens becomes: one, or several with `windows`."""
        if length <= self.capacity:
            return [np.arange(length)]
        if self.long_text == "windows":
            return [np.arange(start, start + self.capacity) for start in self._starts(length)]
        if self.long_text == "head_tail":
            head = int(self.capacity * HEAD_SHARE)
            return [np.r_[0:head, length - (self.capacity - head) : length]]
        return [np.arange(self.capacity)]

    def dress(self, ids: np.ndarray) -> np.ndarray:
        """Put the special tokens around the sub-tokens of one view."""
        return np.concatenate([self.prefix, ids, self.suffix]).astype(np.int32)

    def _starts(self, length: int) -> list[int]:
        # The last window ends with the text instead of hanging over it: every window is full.
        last = length - self.capacity
        return [*range(0, last, self.capacity - self.overlap), last]


def frame_for(tokenizer: Any, *, max_length: int, long_text: str, window_stride: int) -> Frame:
    """The frame of a tokenizer. An overlap that leaves no room to move on is halved to half a window."""
    # Asked of a real encoding, so that every family (BERT, XLM-R, ModernBERT) answers for itself.
    sample = tokenizer("a", return_special_tokens_mask=True)
    ids, special = sample["input_ids"], sample["special_tokens_mask"]
    first = special.index(0)
    last = len(special) - special[::-1].index(0)
    prefix, suffix = tuple(ids[:first]), tuple(ids[last:])
    overlap = min(window_stride, (max_length - len(prefix) - len(suffix)) // 2)
    return Frame(prefix=prefix, suffix=suffix, max_length=max_length, long_text=long_text, overlap=overlap)


def own_views(positions: np.ndarray, views: list[View], length: int) -> np.ndarray:
    """Which view tags the word that begins at each position: the one that shows most context on its poorer side.

    Returns one index into `views` per position, -1 where no view holds it. A view that begins or ends where the
    text does lacks nothing on that side.
    """
    best = np.full(len(positions), -1.0)
    owner = np.full(len(positions), -1, dtype=np.int64)
    for index, view in enumerate(views):
        place = np.searchsorted(view, positions)
        held = (place < len(view)) & (view[np.minimum(place, len(view) - 1)] == positions)
        left = np.where(view[0] == 0, np.inf, place)
        right = np.where(view[-1] == length - 1, np.inf, len(view) - 1 - place)
        context = np.where(held, np.minimum(np.minimum(left, right), 1e9), -1.0)
        owner = np.where(context > best, index, owner)
        best = np.maximum(best, context)
    return owner
