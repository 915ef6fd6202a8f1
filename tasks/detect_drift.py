"""Stage: the day's profile against the days before it and those that the champion learned from."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from tasks.config import zone
from tasks.context import CLICK_DAYS
from tasks.drift_history import past_days
from tasks.memory import recorded, remembered
from tasks.notify import tell_drift
from tasks.references import ChampionRecord, DriftFound, Published
from tasks.stage import logger, stage
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.drift.profile import Profile
    from tasks.drift.text import ItemEmbeddings
    from tasks.drift.verdict import Measured


@stage
def detect_drift(
    workspace: Workspace, published: Published, champion: ChampionRecord
) -> DriftFound:
    """Profile the day and hold it against the days that the champion learned from."""
    found = remembered(
        workspace,
        published,
        "profiled",
        DriftFound,
        lambda: _detect(workspace, published, champion),
        reason=_words,
    )
    tell_drift(workspace, recorded(workspace, published, "profiled"))
    logger.info("%s  drift      %s", published.day, _words(found))
    return found


def _detect(workspace: Workspace, published: Published, champion: ChampionRecord) -> DriftFound:
    from tasks.drift.verdict import judge

    day, one, drift = published.day, timedelta(days=1), workspace.config.drift
    recent = _stored_profiles(workspace, day - timedelta(days=CLICK_DAYS), day - one)
    profile = _profile(workspace, published, champion, recent)
    measured = _measured(workspace, profile, day, champion.version)
    if not measured:
        return DriftFound(report=None)
    report = judge(
        day,
        measured,
        past_days(workspace, day),
        thresholds=drift.thresholds,
        false_alarm_days=drift.false_alarm_days,
    )
    return DriftFound(report=report.to_json())


def _measured(
    workspace: Workspace, profile: "Profile", day: date, version: str | None
) -> "dict[str, Measured]":
    """The day's effects against each of its references that has a profile."""
    from tasks.drift.effects import measure_effects
    from tasks.drift.profile import merge
    from tasks.drift.verdict import Measured

    found = {}
    for name, (first, last) in _references(workspace, day, version).items():
        # Read by themselves: a champion may have learned from days that are long past.
        if stored := _stored_profiles(workspace, first, last):
            reference = merge(stored)
            effects = measure_effects(
                reference, profile, classifier=workspace.config.drift.classifier
            )
            found[name] = Measured(reference.period, len(stored), effects)
    return found


def _stored_profiles(workspace: Workspace, first: date, last: date) -> "list[Profile]":
    """Profiles of the days from `first` to `last`, oldest first."""
    from tasks.drift.table import PROFILES, from_table, outdated

    if workspace.lake.version("profiles") is None:
        return []
    stored = workspace.lake.read("profiles", columns=PROFILES.names, days=(first, last))
    if days := outdated(stored):
        logger.info(
            "left out of references: %s, profiled by an older Dayspring; --force runs a day again",
            ", ".join(map(str, days)),
        )
    return from_table(stored)


def _profile(
    workspace: Workspace,
    published: Published,
    champion: ChampionRecord,
    earlier: "list[Profile]",
) -> "Profile":
    """Profile the day and store it; no later comparison reads the day's rows again."""
    from tasks.drift.day_columns import COLUMNS
    from tasks.drift.predictions import Predictions
    from tasks.drift.profile import merge, profile_day
    from tasks.drift.table import to_table

    lake, day = workspace.lake, published.day
    rows = lake.read(
        "interactions", columns=COLUMNS, days=(day, day), version=published.interactions
    )
    shown = rows["item_id"].unique()
    catalogue = lake.lookup("items", "item_id", shown, version=published.items)
    predicted = {}
    if champion.predictions is not None:
        predicted[champion.version or champion.champion] = Predictions.from_json(
            champion.predictions
        )
    profile = profile_day(
        rows,
        day,
        catalogue=catalogue,
        before=merge(earlier) if earlier else None,
        embeddings=_embeddings(workspace, shown, catalogue),
        predicted=predicted,
        time_zone=workspace.config.source.time_zone,
    )
    lake.replace_day(
        "profiles",
        day,
        to_table(profile, published.revision),
        app_id=f"profiles/{day}",
        app_version=published.interactions,
    )
    return profile


def _embeddings(workspace: Workspace, ids, catalogue) -> "ItemEmbeddings":  # type: ignore[no-untyped-def]
    """The base encoder's vectors of the items shown: an adapter would make days incomparable."""
    from tasks.drift.text import ItemEmbeddings
    from tasks.recommender.base import load_base
    from tasks.recommender.encoder import Encoder
    from tasks.recommender.items import describe_items

    compute = workspace.config.compute
    base = load_base(
        workspace.config.finetune.base, device=compute.device, precision=compute.precision
    )
    encoder = Encoder(base)
    items = describe_items(ids, catalogue, encoder, workspace.embeddings)
    return ItemEmbeddings(ids, items.vectors, encoder.digest)


def _references(
    workspace: Workspace, day: date, version: str | None
) -> dict[str, tuple[date, date]]:
    """First and last day of each reference: the days before, and the champion's where they differ."""
    from tasks.drift.past import CHAMPION, ROLLING

    week = timedelta(days=workspace.config.drift.rolling_days)
    yesterday = day - timedelta(days=1)
    before = day - week, yesterday
    live = workspace.registry.version(version) if version else None
    if live is None or live.trained_from is None or live.trained_through is None:
        return {ROLLING: before}
    local = zone(workspace.config)
    first, last = (
        moment.astimezone(local).date() for moment in (live.trained_from, live.trained_through)
    )
    last = min(last, yesterday)
    # A few days lack weekdays: the champion's world is that of the week up to its newest day.
    learned = min(first, last - week + timedelta(days=1)), last
    return {ROLLING: before} if learned == before else {ROLLING: before, CHAMPION: learned}


def _words(found: DriftFound) -> str:
    if found.report is None:
        return "nothing to compare with yet"
    moved = [f"{c['column']} ({c['words']})" for c in found.report["columns"] if c["drifted"]]
    said = "; ".join(moved) if moved else f"none against {found.report['reference']}"
    learning = found.report["learning"]
    return f"{said}; {learning}" if learning else said
