"""How values are written in the admin, for readers of Portuguese and of English."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from config.display import NOTHING, ago, bar, duration, figure, parameter, percent, shortened


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.91236, "0,9124"), (1, "1,0000"), (None, NOTHING), (True, NOTHING), ("x", NOTHING)],
)
def test_a_figure_has_four_rounded_digits_or_is_a_dash(value: object, written: str) -> None:
    assert figure(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(5e-5, "5e-5"), (1.5e-5, "1,5e-5"), (0.1, "0,1"), (0.0, "0"), (5.0, "5"), (16, "16"), (True, "sim"), ("f1", "f1")],
)
def test_a_parameter_is_written_as_people_write_it(value: object, written: str) -> None:
    assert parameter(value) == written


def test_in_english_a_number_has_a_point() -> None:
    with translation.override("en"):
        assert (figure(0.5), parameter(1.5e-5)) == ("0.5000", "1.5e-5")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(None, NOTHING), (-3, "0 s"), (59.9, "59 s"), (720, "12 min"), (3900, "1 h 05 min"), (183600, "2 d 3 h")],
)
def test_a_duration_is_short(seconds: float | None, written: str) -> None:
    assert duration(seconds) == written


def test_how_long_ago_is_said_in_words() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert ago(now - timedelta(minutes=12), now) == "há 12 min"
    assert ago(None, now) == NOTHING


def test_only_all_of_it_is_a_hundred_percent() -> None:
    assert [percent(share) for share in (0, 0.29, 0.999, 1)] == ["0 %", "29 %", "99 %", "100 %"]


def test_a_bar_stays_within_its_ends() -> None:
    assert 'value="1.0000"' in bar(1.7, "x")
    assert 'value="0.0000"' in bar(-1, "x")


def test_a_shortened_name_keeps_the_whole_on_hover_and_is_escaped() -> None:
    shown = shortened("<b>" + "x" * 100)
    assert shown.startswith('<span title="&lt;b&gt;xxx')
    assert "…" in shown
    assert "<b>" not in shown
