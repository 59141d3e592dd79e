"""How much of a run is done, by what it has to compute: in sub-tokens, since rows differ in length."""

import torch

from worker_client.training.ordering import RowOrder

TRAINING_COST = 3  # forward and backward together take about three times the forward of an evaluation


class Workload:
    """All epochs of a run, with their evaluations; early stopping may end it before."""

    def __init__(self, order: RowOrder, *, epochs: int, validation: int) -> None:
        """validation: sub-tokens of the validation part."""
        self.rows_per_step = order.batch_size
        self._order = order
        self._steps_per_epoch = -(-len(order) // order.batch_size)
        self._epoch_cost = TRAINING_COST * int(order.lengths.sum()) + validation
        self._whole = epochs * self._epoch_cost
        self._known: tuple[int, torch.Tensor] = (-1, torch.empty(0))

    def done(self, step: int) -> float:
        """The share that is done after `step` steps, from 0 to 1."""
        epoch, steps = divmod(step, self._steps_per_epoch)
        trained = int(self._tokens(epoch)[: steps * self.rows_per_step].sum())
        return (epoch * self._epoch_cost + TRAINING_COST * trained) / self._whole

    def _tokens(self, epoch: int) -> torch.Tensor:
        """Of the rows in the order of an epoch; drawn once."""
        if self._known[0] != epoch:
            self._known = (epoch, self._order.lengths[self._order.rows_of(epoch)])
        return self._known[1]
