"""What each trigger cost and gained: worked by hand, and by what must always hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.trigger.ledger import Asked, DayGain, Firing, balance

KEPT = Firing(("drift",), 10.0, "not promoted", ())
WON = Firing(("drift", "probe 256"), 20.0, "promoted", (DayGain(0.02, 0.003), DayGain(0.04, 0.004)))
WAITING = Firing(("drift",), 5.0, "open", ())
NEW = Firing(("drift",), 7.0, "promoted", ())


def test_a_ledger_worked_by_hand():
    asked = [Asked("drift", True, 0.0)] * 4 + [Asked("drift", False, 0.0)]
    asked += [Asked("probe 256", True, 2.0), Asked("probe 256", False, 1.5)]
    drift, probe = balance([KEPT, WON, WAITING, NEW], asked)
    assert (drift.trigger, drift.asked, drift.spoke, drift.fired) == ("drift", 5, 4, 4)
    # Two of the three that are settled were promoted; one waits.
    assert (drift.promoted, drift.open, drift.precision) == (2, 1, pytest.approx(2 / 3))
    # Kept: 0 exactly. Won: mean 0.03, error √(0.003² + 0.004²)/2 = 0.0025. New: not measured yet.
    assert (drift.measured, drift.mean_gain) == (2, pytest.approx(0.015))
    assert drift.gain_error == pytest.approx(0.00125)
    assert (drift.train_seconds, drift.asking_seconds) == (42.0, 0.0)
    # The training that both asked for is in both accounts, whole.
    assert (probe.fired, probe.precision, probe.mean_gain) == (1, 1.0, pytest.approx(0.03))
    assert (probe.train_seconds, probe.asking_seconds) == (20.0, 3.5)


def test_a_trigger_that_never_spoke_has_no_precision():
    (line,) = balance([], [Asked("performance 0.02", False, 0.0)])
    assert (line.fired, line.precision, line.mean_gain, line.gain_error) == (0, None, None, None)


def test_an_empty_ledger_has_no_lines():
    assert balance([], []) == []


days = st.builds(DayGain, st.floats(-0.1, 0.1), st.floats(0, 0.05))
firings = st.builds(
    Firing,
    st.sets(st.sampled_from(["drift", "probe", "cadence"]), min_size=1).map(tuple),
    st.floats(0, 100),
    st.sampled_from(["promoted", "not promoted", "open"]),
    st.lists(days, max_size=3).map(tuple),
)


@given(st.lists(firings, max_size=12))
def test_what_was_fired_is_promoted_open_or_lost_and_gains_lie_between_the_days(drawn):
    for line in balance(drawn, []):
        mine = [firing for firing in drawn if line.trigger in firing.rules]
        assert line.fired == len(mine)
        assert line.promoted + line.open <= line.fired
        assert line.precision is None or 0 <= line.precision <= 1
        seen = [day.gain for firing in mine for day in firing.days] + [0.0]
        if line.mean_gain is not None:
            assert min(seen) - 1e-12 <= line.mean_gain <= max(seen) + 1e-12


@given(st.lists(firings, min_size=1, max_size=8))
def test_the_order_of_the_firings_changes_no_account(drawn):
    here = {line.trigger: line for line in balance(drawn, [])}
    for line in balance(drawn[::-1], []):
        other = here[line.trigger]
        assert (line.fired, line.promoted, line.measured) == (
            other.fired,
            other.promoted,
            other.measured,
        )
        assert line.mean_gain == pytest.approx(other.mean_gain, abs=1e-12)
