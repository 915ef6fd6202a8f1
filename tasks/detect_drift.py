"""Stage: the day's profile against the champion's training window."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from tasks.config import zone
from tasks.context import CLICK_DAYS
from tasks.memory import recorded, remembered
from tasks.notify import tell_drift
from tasks.references import ChampionRecord, DriftFound, Published
from tasks.stage import logger, stage
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.drift.profile import Profile
    from tasks.drift.text import ItemEmbeddings


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
    from tasks.drift.compare import compare
    from tasks.drift.profile import merge

    day, one = published.day, timedelta(days=1)
    recent = _stored_profiles(workspace, day - timedelta(days=CLICK_DAYS), day - one)
    profile = _profile(workspace, published, champion, recent)
    # Read by themselves: a champion may have learned from days that are long past.
    reference = _stored_profiles(workspace, *_reference_days(workspace, day, champion.version))
    if not reference:
        return DriftFound(report=None)
    report = compare(merge(reference), profile, thresholds=workspace.config.drift.thresholds)
    return DriftFound(report=report.to_json())


def _stored_profiles(workspace: Workspace, first: date, last: date) -> "list[Profile]":
    """Profiles of the days from `first` to `last`, oldest first."""
    from tasks.drift.table import PROFILES, from_table, outdated

    if workspace.lake.version("profiles") is None:
        return []
    stored = workspace.lake.read("profiles", columns=PROFILES.names, days=(first, last))
    if days := outdated(stored):
        logger.info(
            "left out of the reference: %s, profiled by an older Dayspring; --force runs a day again",
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


def _reference_days(workspace: Workspace, day: date, version: str | None) -> tuple[date, date]:
    """The champion's training days before `day`; the recent window before there is a champion."""
    yesterday = day - timedelta(days=1)
    live = workspace.registry.version(version) if version else None
    if live is None or live.trained_from is None or live.trained_through is None:
        return day - timedelta(days=workspace.config.finetune.window_days), yesterday
    local = zone(workspace.config)
    first, last = (
        moment.astimezone(local).date() for moment in (live.trained_from, live.trained_through)
    )
    return first, min(last, yesterday)


def _words(found: DriftFound) -> str:
    if found.report is None:
        return "nothing to compare with yet"
    moved = [f"{c['column']} ({c['words']})" for c in found.report["columns"] if c["drifted"]]
    return "; ".join(moved) if moved else f"none against {found.report['reference']}"
