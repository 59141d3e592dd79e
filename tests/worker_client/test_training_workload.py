"""The remaining time goes by what is to be computed, not by steps."""

from types import SimpleNamespace

import pytest

from worker_client.training import callbacks
from worker_client.training.callbacks import Telemetry
from worker_client.training.ordering import RowOrder
from worker_client.training.workload import Workload

LENGTHS = [10] * 40 + [500] * 8


def work(epochs=2, validation=100, test=0):
    order = RowOrder(LENGTHS, batch_size=8, seed=3, grouped=False)
    return Workload(order, epochs=epochs, validation=validation, test=test)


def test_a_run_is_half_done_after_half_its_epochs():
    assert [work().done(step, evaluated=True) for step in (0, 6, 12)] == [0.0, 0.5, 1.0]


def test_behind_the_last_step_the_evaluation_and_the_scoring_of_the_test_part_are_to_come():
    trained = 3 * 2 * sum(LENGTHS)
    assert work(test=300).done(12) == pytest.approx((trained + 100) / (trained + 200 + 300))
    assert work(test=300).done(12, evaluated=True) == pytest.approx((trained + 200) / (trained + 200 + 300))


def test_a_step_counts_as_much_as_its_rows_have_sub_tokens():
    order = RowOrder(LENGTHS, batch_size=8, seed=3, grouped=False)
    workload = Workload(order, epochs=1, validation=0, test=0)
    rows = order.rows_of(0).tolist()
    for step in range(7):
        tokens = sum(LENGTHS[row] for row in rows[: step * 8])
        assert workload.done(step) == pytest.approx(tokens / sum(LENGTHS))


def test_an_epoch_that_does_not_fill_its_last_step_ends_with_it():
    workload = Workload(RowOrder([5] * 9, batch_size=8, seed=1, grouped=False), epochs=2, validation=0, test=0)
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
    telemetry.on_train_begin(SimpleNamespace(num_train_epochs=2), state_at(6), None)
    assert noted.facts["epoch"] == 1.0
    clock.now += 30.0
    telemetry.on_step_end(None, state_at(9), SimpleNamespace())
    done = work().done(9)
    assert noted.facts["eta_seconds"] == pytest.approx(30.0 / (done - 0.5) * (1 - done), abs=0.1)


def test_the_remaining_time_runs_on_while_the_last_epoch_is_evaluated_and_is_not_yet_over(clock):
    noted = Noted()
    telemetry = Telemetry(None, noted, work(validation=1_000, test=1_000))
    telemetry.on_train_begin(None, state_at(0), None)
    clock.now += 60.0
    telemetry.on_step_end(None, state_at(12), SimpleNamespace())
    done = work(validation=1_000, test=1_000).done(12)
    left = noted.facts["eta_seconds"]
    assert left == pytest.approx(60.0 / done * (1 - done), abs=0.1)
    clock.now += 2.0
    telemetry.on_prediction_step(None, state_at(12), None)
    assert noted.facts["eta_seconds"] == pytest.approx(left - 2.0)
    clock.now += 3_600.0
    telemetry.on_prediction_step(None, state_at(12), None)
    assert noted.facts["eta_seconds"] == 0.0


def test_rows_per_second_are_told_with_the_loss(clock, caplog):
    noted, control = Noted(), SimpleNamespace(should_log=False)
    telemetry = Telemetry(None, noted, work())
    telemetry.on_train_begin(None, state_at(0), None)
    clock.now += 16.0
    telemetry.on_step_end(None, state_at(4), control)
    assert control.should_log
    assert noted.facts["message"] == "2.0 rows per second"


def test_the_time_of_an_evaluation_does_not_lower_the_rows_per_second(clock):
    noted, control = Noted(), SimpleNamespace(should_log=False)
    telemetry = Telemetry(None, noted, work())
    telemetry.on_train_begin(None, state_at(0), None)
    telemetry.on_epoch_begin(None, state_at(0), None)
    clock.now += 12.0
    telemetry.on_step_end(None, state_at(6), control)
    telemetry.on_epoch_end(None, state_at(6), None)
    clock.now += 300.0
    telemetry.on_epoch_begin(None, state_at(6), None)
    clock.now += 4.0
    telemetry.on_step_end(None, state_at(8), control)
    assert noted.facts["message"] == "4.0 rows per second"
