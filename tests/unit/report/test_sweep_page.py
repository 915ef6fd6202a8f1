"""A sweep in words and as a page."""

import pytest

from tasks.report.sweep import render_sweep, sweep_lines, verdict_of


def trial(number: int, auc: float | None, state: str = "complete", **more: object) -> dict:
    values = {"optimization.learning_rate": 0.00123456, "objective.loss": "<b>"}
    told = {"configured": number == 0, "seconds": 2.5, "why": None, "values": values}
    return {"number": number, "auc": auc, "state": state, **told, **more}


def document(gain: float, error: float = 0.004) -> dict:
    trials = [trial(0, 0.66), trial(1, None, "killed"), trial(2, None, "pruned")]
    trials += [trial(3, 0.66 + gain), trial(4, None, "failed", why="<i>diverged</i>")]
    return {
        "pipeline": "portal",
        "day": "2026-03-03",
        "trials": trials,
        "configured_auc": 0.66,
        "best": {"trial": 3, "auc": 0.66 + gain, "gain": gain, "standard_error": error},
        "importance": {"objective.loss": 0.2, "head_epochs": 0.8},
        "yaml": "finetune:\n  shots: 64\n",
        "block": "portal.yaml",
        "page": "portal.html",
    }


def test_the_verdict_says_the_gain_and_that_the_validation_chose():
    assert verdict_of(document(0.02)) == (
        "Trial 3 ranks the validation at 0.6800, +0.0200 ± 0.0040 over the configured recipe. It was "
        "chosen among 4 trials by this very validation, so expect less; the holdout was not read."
    )


@pytest.mark.parametrize(("gain", "luck"), [(0.0079, True), (0.0081, False)])
def test_a_gain_below_two_standard_errors_may_be_luck(gain, luck):
    assert ("may be luck" in verdict_of(document(gain))) == luck


def test_a_configured_recipe_that_nothing_beats_is_said_to_stay():
    assert "None of 4 trials ranks the validation better" in verdict_of(document(0.0))


def test_the_page_shows_every_trial_and_escapes_what_is_written_elsewhere():
    page = render_sweep(document(0.02))
    assert page.count('<th scope="row" class="num">') == 5
    assert "&lt;i&gt;diverged" in page and "&lt;b&gt;" in page and "<i>" not in page
    assert page.index("head_epochs") < page.index("objective.loss")
    assert "0.0012" in page and "0.00123" not in page


def test_the_lines_hold_the_block_as_it_is_to_be_pasted():
    assert "finetune:\n  shots: 64\n" in "\n".join(sweep_lines(document(0.02)))
