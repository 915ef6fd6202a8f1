"""`benchmarks/guardrails.py`: its worlds are what they say, and its verdicts are the rules'."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark, with a quicker search for its pairs."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = __import__("guardrails")
    monkeypatch.setattr(module, "CALIBRATION", 3_000)
    module.find_lift.cache_clear()
    return module


def test_a_pair_loses_in_the_harmed_category_and_gains_elsewhere(bench):
    portal = bench._open(3_000)
    pair = bench.find_harm(portal, 0.8, -0.08)
    evidence = bench.evidence_of(portal, pair, 0, np.random.default_rng(4))
    assert bench.gain_in(evidence, f"category {bench.HARMED}") == pytest.approx(-0.08, abs=0.03)
    assert bench.gain_in(evidence, "category 0") > 0


def test_what_is_measured_is_the_verdict_of_the_rule(bench):
    portal = bench._open(600)
    harmed, equal = bench.Pair(0.95, 0.0, 4.0), bench.Pair(0.99, 0.0)
    [broken] = bench.verdicts(portal, harmed, 1, 1, 0)
    assert any(each.decision == "breach" for each in broken) and not bench.passes(broken)
    [kept] = bench.verdicts(portal, equal, 1, 1, 0)
    assert bench.passes(kept)


def test_what_goes_live_is_what_gate_and_guardrails_together_promote(bench):
    portal = bench._open(1_000)
    better, harmful = bench.Pair(0.95, 0.5), bench.Pair(0.95, 0.5, 4.0)
    assert bench.goes_live(portal, better, 1, 1, 0)
    assert not bench.goes_live(portal, harmful, 1, 1, 0)
    assert not bench.goes_live(portal, bench.Pair(0.95, 0.0), 1, 1, 0)


def test_replications_are_shared_among_processes_and_counted_once(bench):
    assert bench._count(_is_even, 5) == (3, 5)


def _is_even(seed: int) -> bool:
    return seed % 2 == 0
