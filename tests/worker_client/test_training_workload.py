"""The remaining time goes by what is to be computed, not by steps."""

from types import SimpleNamespace

import pytest

from worker_client.training import callbacks
from worker_client.training.callbacks import Telemetry
from worker_client.training.ordering import RowOrder
from worker_client.training.workload import Workload

LENGTHS = [10] * 40 + [500] * 8


def work(epochs=2, validation=100):
    return Workload(RowOrder(LENGTHS, batch_size=8, seed=3, grouped=False), epochs=epochs, validation=validation)


def test_a_run_is_done_after_its_last_step_and_half_done_after_half_its_epochs():
    assert [work().done(step) for step in (0, 6, 12)] == [0.0, 0.5, 1.0]


def test_a_step_counts_as_much_as_its_rows_have_sub_tokens():
    order = RowOrder(LENGTHS, batch_size=8, seed=3, grouped=False)
    workload = Workload(order, epochs=1, validation=0)
    rows = order.rows_of(0).tolist()
    for step in range(7):
        tokens = sum(LENGTHS[row] for row in rows[: step * 8])
        assert workload.done(step) == pytest.approx(tokens / sum(LENGTHS))


def test_an_epoch_that_does_not_fill_its_last_step_ends_with_it():
    workload = Workload(RowOrder([5] * 9, batch_size=8, seed=1, grouped=False), epochs=2, validation=0)
    assert [workload.done(step) for step in (1, 2, 4)] == pytest.approx([8 / 18, 0.5, 1.0])


class Noted:
    """Keeps what a progress is told."""

    def __init__(self):
        self.facts = {}

    def update(self, **facts):
        self.facts.update(facts)


@pytest.fixture
def clock(monkeypatch):
    time = SimpleNamespace(now=100.0)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: time.now)
    return time


def state_at(step):
    return SimpleNamespace(global_step=step, max_steps=12, epoch=step / 6, log_history=[])


def test_the_remaining_time_of_a_resumed_run_goes_by_this_attempts_pace(clock):
    noted = Noted()
    telemetry = Telemetry(None, noted, work())
    telemetry.on_train_begin(None, state_at(6), None)
    clock.now += 30.0
    telemetry.on_step_end(None, state_at(9), SimpleNamespace())
    done = work().done(9)
    assert noted.facts["eta_seconds"] == pytest.approx(30.0 / (done - 0.5) * (1 - done), abs=0.1)


def test_rows_per_second_are_told_with_the_loss(clock, caplog):
    noted, control = Noted(), SimpleNamespace(should_log=False)
    telemetry = Telemetry(None, noted, work())
    telemetry.on_train_begin(None, state_at(0), None)
    clock.now += 16.0
    telemetry.on_step_end(None, state_at(4), control)
    assert control.should_log
    assert noted.facts["message"] == "2.0 rows per second"
