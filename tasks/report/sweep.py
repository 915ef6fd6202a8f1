"""The page of a sweep: its trials in order, the knobs that mattered, and the winner's block."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.report import words
from tasks.report.charts import Line, bar, lines_chart
from tasks.report.page import render


def render_sweep(document: Mapping[str, Any]) -> str:
    """One self-contained page of the document that `--json` prints."""
    importance = sorted(document["importance"].items(), key=lambda each: -each[1])
    return render(
        "page_sweep.html.j2",
        sweep=document,
        verdict=verdict_of(document),
        tone="good" if document["best"]["gain"] > 0 else "calm",
        chart=_chart(document["trials"]),
        importance=[
            (knob, words.percent(share), bar(share, importance[0][1])) for knob, share in importance
        ],
        trials=[(each, _values(each["values"])) for each in document["trials"]],
    )


def verdict_of(document: Mapping[str, Any]) -> str:
    """What the winner gains, and what that does not say."""
    best = document["best"]
    if best["gain"] <= 0:
        return (
            f"None of {_ended(document)} ranks the validation better than the configured recipe, "
            f"{words.decimal(document['configured_auc'], 4)}."
        )
    gain, error = best["gain"], best["standard_error"]
    luck = " That is less than two standard errors, and may be luck." if gain < 2 * error else ""
    return (
        f"Trial {best['trial']} ranks the validation at {words.decimal(best['auc'], 4)}, "
        f"{words.signed(gain)} ± {words.decimal(error, 4)} over the configured recipe.{luck} It was "
        f"chosen among {_ended(document)} by this very validation, so expect less; the holdout was "
        "not read."
    )


def sweep_lines(document: Mapping[str, Any]) -> list[str]:
    """The verdict and the block to paste, for a terminal or a pipe."""
    return [
        verdict_of(document),
        f"Instead of the section finetune of pipelines.{document['pipeline']}:",
        "",
        document["yaml"],
        f"kept in: {document['block']}",
        f"page:    {document['page']}",
    ]


def _ended(document: Mapping[str, Any]) -> str:
    ended = [each for each in document["trials"] if each["state"] != "killed"]
    return f"{len(ended):,} trial" + ("s" if len(ended) != 1 else "")


def _chart(trials: Sequence[Mapping[str, Any]]) -> Any:
    best: list[float | None] = []
    for each in trials:
        known = [value for value in (best[-1] if best else None, each["auc"]) if value is not None]
        best.append(max(known, default=None))
    configured = {i: "as configured" for i, each in enumerate(trials) if each["configured"]}
    return lines_chart(
        "Validation AUC by trial, and the best so far",
        [
            Line("best", best, "champion"),
            Line("trial", [each["auc"] for each in trials], "challenger"),
        ],
        [str(each["number"]) for each in trials],
        configured,
    )


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{words.clip(knob)} {words.clip(f'{value:.2g}' if isinstance(value, float) else value)}"
        for knob, value in values.items()
    )
