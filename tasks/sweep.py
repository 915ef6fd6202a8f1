"""A hyper-parameter search on one stored day: the shots and the validation that `train` would use.

The holdout, on which challengers are judged, is not read. So what wins here is chosen on the validation
alone, and the gate remains an honest judge of it.
"""

import json
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config_block import finetune_yaml
from tasks.config_finetune import Finetune
from tasks.errors import ConfigError, EvaluationError
from tasks.references import Published
from tasks.replay import stored_days
from tasks.stage import Clock, logger, writing
from tasks.training_rows import training_rows
from tasks.warm_start import choose_start, load_start
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.recommender.recipe import Recipe
    from tasks.recommender.sweep import Sweep, Tried
    from tasks.recommender.sweep_trial import Bench

CHEAP_SEEDS = 3
"""Runs of a trial that trains only a head: one seed alone often wins by luck."""


def sweep(
    workspace: Workspace, day: date | None, *, trials: int, seconds: float | None
) -> dict[str, Any]:
    """Go on with the sweep of a day until `trials` have ended, and write what won.

    Args:
        day: a published one; the newest by default.
        trials: in all, those of earlier commands included.
        seconds: after which no trial is begun; None: no limit.

    Returns:
        The document that `--json` prints. It names the page, and the file of the winner's block.

    Raises:
        ConfigError: the day is not published.
        EvaluationError: the day's validation ranks nothing.
        ModelError: the configured recipe cannot be trained.
    """
    published = _published(workspace, day)
    clock = Clock()
    with workspace.leases.held("sweep", timeout_seconds=1.0), writing("sweep", workspace.home):
        study = _study(workspace, published)
        _go_on(workspace, published, study, trials, seconds)
        return _conclude(workspace, published, study, clock)


def _published(workspace: Workspace, day: date | None) -> Published:
    entries = workspace.journal.entries(event="published")
    days = sorted({entry.day for entry in entries if entry.day})
    if not days:
        raise ConfigError(
            f"{workspace.name} has no published day, and a sweep needs the shots of one. Start with "
            f"dayspring run {workspace.name}."
        )
    wanted = day or days[-1]
    stored = stored_days(workspace, wanted, wanted)
    if wanted not in stored:
        raise ConfigError(
            f"{workspace.name} has not published {wanted}; there are {days[0]} to {days[-1]}. Run it "
            f"first: dayspring run {workspace.name} --day {wanted}."
        )
    return stored[wanted].published


def _study(workspace: Workspace, published: Published) -> "Sweep":
    """The day's study; another recipe, or a revision of the day, has another."""
    from tasks.recommender.sweep import Sweep
    from tasks.recommender.sweep_space import Space

    settings = workspace.config.finetune
    compared = [settings.flat(), published.key(""), workspace.config.promote.holdout_share]
    space = Space(settings.recipe, keep_tuning=settings.start is not None)
    text = json.dumps([*compared, str(space)], sort_keys=True)
    name = f"{published.day} {sha256(text.encode()).hexdigest()[:12]}"
    return Sweep(workspace.sweeps / f"{workspace.name}.db", name, space)


def _go_on(
    workspace: Workspace, published: Published, study: "Sweep", trials: int, seconds: float | None
) -> None:
    from tasks.recommender.recipe_check import trains_network

    if study.num_ended >= trials:
        return
    logger.info(
        "%s  sweep      %d of %d trials are done; loading shots and validation",
        published.day,
        study.num_ended,
        trials,
    )
    bench = _bench(workspace, published)
    seeds = 1 if trains_network(study.configured) else CHEAP_SEEDS
    study.run(
        partial(_run, bench, seeds),
        trials=trials,
        seconds=seconds,
        tell=lambda tried: _tell(published, study, tried),
    )


def _bench(workspace: Workspace, published: Published) -> "Bench":
    from tasks.recommender.sweep_trial import Bench, preparing_once

    wanted = workspace.config.finetune.start
    started = choose_start(workspace, published, wanted) if wanted else None
    start = preparing_once(load_start(workspace, started))
    rows = training_rows(workspace, published, start)
    bench = Bench(start, rows.shots, rows.validation, rows.context, rows.unlabelled)
    if not len(bench.aucs(start)):
        raise EvaluationError(
            f"The validation of {published.day} has no impression with both a click and a skip, so no "
            "recipe can be told from another. Choose another --day, or raise "
            "finetune.validation_share."
        )
    return bench


def _run(bench: "Bench", seeds: int, recipe: "Recipe", report: Any) -> Any:
    return bench.run(recipe, seeds=seeds, report=report)


def _tell(published: Published, study: "Sweep", tried: "Tried") -> None:
    told = f"{tried.auc:.4f}" if tried.auc is not None else tried.why or tried.state
    best, _ = study.best()
    logger.info(
        "%s  trial %-4d %s; best %.4f, trial %d",
        published.day,
        tried.number,
        told,
        best.auc,
        best.number,
    )


def _conclude(
    workspace: Workspace, published: Published, study: "Sweep", clock: Clock
) -> dict[str, Any]:
    from tasks.report.sweep import render_sweep

    best, recipe = study.best()
    gain, error = study.gain(best)
    settings = with_recipe(workspace.config.finetune, recipe)
    block = workspace.sweeps / f"{workspace.name}-{published.day}.yaml"
    page = workspace.reports / f"sweep-{published.day}.html"
    tried = study.tried()
    document = {
        "pipeline": workspace.name,
        "day": str(published.day),
        "study": study.study.study_name,
        "file": str(workspace.sweeps / f"{workspace.name}.db"),
        "trials": [asdict(each) for each in tried],
        "configured_auc": next(e.auc for e in tried if e.configured and e.auc is not None),
        "best": {"trial": best.number, "auc": best.auc, "gain": gain, "standard_error": error},
        "changed": _changed(workspace.config.finetune, settings),
        "importance": study.importance(),
        "yaml": finetune_yaml(settings),
        "block": str(block),
        "page": str(page),
        "seconds": clock.seconds,
    }
    _write(block, _commented(document))
    _write(page, render_sweep(document))
    return document


def with_recipe(settings: Finetune, recipe: "Recipe") -> Finetune:
    """`settings` with every knob of `recipe`."""
    return replace(
        settings, **{name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    )


def _changed(before: Finetune, after: Finetune) -> dict[str, Any]:
    """The knobs that the winner has otherwise."""
    old = before.flat()
    return {knob: value for knob, value in after.flat().items() if old.get(knob) != value}


def _commented(document: dict[str, Any]) -> str:
    from tasks.report.sweep import verdict_of

    heading = (
        f"Of `dayspring sweep {document['pipeline']}` on {document['day']}: "
        f"{verdict_of(document)} Instead of the section finetune of pipelines.{document['pipeline']}:"
    )
    return f"# {heading}\n{document['yaml']}"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
