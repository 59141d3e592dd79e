"""How much of a run is done, by what it has to compute: in sub-tokens, since rows differ in length."""

import torch

from worker_client.training.ordering import RowOrder

TRAINING_COST = 3  # forward and backward together take about three times the forward of an evaluation


class Workload:
    """All epochs of a run with their evaluations, and the scoring at its end; early stopping may end it before."""

    def __init__(self, order: RowOrder, *, epochs: int, validation: int, test: int) -> None:
        """validation, test: sub-tokens of these parts."""
        self.rows_per_step = order.batch_size
        self._order = order
        self._steps_per_epoch = -(-len(order) // order.batch_size)
        self._validation = validation
        self._epoch_cost = TRAINING_COST * int(order.lengths.sum()) + validation
        self._whole = epochs * self._epoch_cost + test
        self._known: tuple[int, torch.Tensor] = (-1, torch.empty(0))

    def done(self, step: int, *, evaluated: bool = False) -> float:
        """The share that is done after `step` steps, from 0 to 1.

        evaluated: where an epoch ends with that step, its evaluation is over, too.
        """
        epoch, steps = divmod(step, self._steps_per_epoch)
        trained = int(self._tokens(epoch)[: steps * self.rows_per_step].sum())
        to_come = self._validation if epoch and not steps and not evaluated else 0
        return (epoch * self._epoch_cost + TRAINING_COST * trained - to_come) / self._whole

    def _tokens(self, epoch: int) -> torch.Tensor:
        """Of the rows in the order of an epoch; drawn once."""
        if self._known[0] != epoch:
            self._known = (epoch, self._order.lengths[self._order.rows_of(epoch)])
        return self._known[1]
