"""The order of the training rows: drawn by seed and epoch, so that a resumed run sees the same batches."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

BATCHES_PER_POOL = 50  # rows are sorted by length within a random pool of so many batches: little padding, still random


class RowOrder(Sampler[int]):
    """All rows at random, or with neighbours of similar lengths. The same (seed, epoch) always gives the same order.

    The library's own orders draw from the global generator: resumed in mid-epoch they would give other batches than
    the uninterrupted run had. grouped: less padding, at the price of batches that are less alike. filled: the last
    batch is whole, by the number behind the last row, which stands for a row that counts for nothing. Processes that
    share a batch need that: to make it even, the library would train some rows twice.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int, seed: int, grouped: bool, filled: bool = False
    ) -> None:
        self.lengths = torch.as_tensor(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.grouped = grouped
        self.filled = filled
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Epochs are counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) + self._missing()

    def __iter__(self) -> Iterator[int]:
        return iter([*self.rows_of(self.epoch).tolist(), *[len(self.lengths)] * self._missing()])

    def _missing(self) -> int:
        return -len(self.lengths) % self.batch_size if self.filled else 0

    def rows_of(self, epoch: int) -> torch.Tensor:
        """All rows in the order of an epoch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        shuffled = torch.randperm(len(self.lengths), generator=generator)
        return self._by_length(shuffled, generator) if self.grouped else shuffled

    def _by_length(self, shuffled: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Rows sorted within their pool, and the batches that come of it shuffled; one that is not full stays last."""
        pools = shuffled.split(self.batch_size * BATCHES_PER_POOL)
        rows = torch.cat([pool[self.lengths[pool].argsort(descending=True, stable=True)] for pool in pools])
        full = len(rows) // self.batch_size * self.batch_size
        batches = rows[:full].view(-1, self.batch_size)
        mixed = batches[torch.randperm(len(batches), generator=generator)].flatten()
        return torch.cat([mixed, rows[full:]])
