"""The contest as PNG files, for MLflow's own page of a model version."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tasks.report.words import Record, as_number, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"champion": "#1f5fae", "challenger": "#b8500c", "zero-shot": "#77716a"}
INCHES = (4.8, 4.0)
DOTS_PER_INCH = 100


def plot_contest(record: Record, history: Sequence[Record] = ()) -> dict[str, bytes]:
    """PNG files by name: roc.png and calibration.png of the contest, auc.png of the days.

    Args:
        record: the day's JSON document.
        history: the records of earlier days; without any there is no auc.png.
    """
    plots = {}
    contest = record.get("contest") or {}
    if curves := contest.get("curves"):
        gain = f"gain {signed(contest.get('gain'))}"
        plots["roc.png"] = _plot(partial(_draw_roc, curves=curves), f"ROC, {gain}")
        plots["calibration.png"] = _plot(partial(_draw_calibration, curves=curves), "Calibration")
    if history:
        days = sorted([*history, record], key=lambda day: str(day.get("day")))
        plots["auc.png"] = _plot(partial(_draw_days, days=days), "Impression AUC by day")
    return plots


def _plot(draw: Callable[[Axes], None], title: str) -> bytes:
    """One PNG; a figure of its own leaves pyplot's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    draw(axes)
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e0d8", linewidth=0.8)
    axes.legend(frameon=False, loc="best")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_roc(axes: Axes, curves: Record) -> None:
    axes.plot([0, 1], [0, 1], color="#66625b", linewidth=0.8, linestyle=":")
    for model, curve in curves.items():
        alarms, hits = zip(*curve["roc"], strict=True)
        axes.plot(alarms, hits, color=COLOURS[model], label=model)
    axes.set(xlabel="share of skips above", ylabel="share of clicks above", aspect="equal")


def _draw_calibration(axes: Axes, curves: Record) -> None:
    top = max(max(point[:2]) for curve in curves.values() for point in curve["calibration"])
    axes.plot([0, top], [0, top], color="#66625b", linewidth=0.8, linestyle=":")
    for model, curve in curves.items():
        predicted, observed, _ = zip(*curve["calibration"], strict=True)
        axes.plot(predicted, observed, color=COLOURS[model], marker="o", markersize=4, label=model)
    axes.set(xlabel="predicted click probability", ylabel="observed click rate")


def _draw_days(axes: Axes, days: Sequence[Record]) -> None:
    names = [str(day.get("day"))[5:10] for day in days]
    for model, key in (("champion", "champion_auc"), ("zero-shot", "zero_shot_auc")):
        values = [as_number(day.get(key)) for day in days]
        known = [float("nan") if value is None else value for value in values]
        axes.plot(
            range(len(days)), known, color=COLOURS[model], marker="o", markersize=4, label=model
        )
    every = -(-len(days) // 8)
    axes.set_xticks(range(len(days))[::every], names[::every])
