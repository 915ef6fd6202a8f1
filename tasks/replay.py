"""A replay: what another policy would have made of the days that a pipeline has stored.

No log is read. Each day is given the table versions as of its own publication, so nothing of it
or after it is known before its turn. All that a replay writes is its own: journal, leases and
profiles below `<lake>/<pipeline>/replays/<name>`, a registered model, pages.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks.config import Pipeline, zone
from tasks.config_file import POLICIES, with_overrides
from tasks.context import CLICK_DAYS
from tasks.errors import ConfigError
from tasks.models import name_of
from tasks.plan import DayPlan, days_between
from tasks.references import Published, Staged, Validated
from tasks.stage import logger, stage
from tasks.workspace import Replay, Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry, Outcome

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
INHERITED = "inherited"
"""Journal key: the champion that the real history had on the replay's first day."""


@dataclass(frozen=True)
class StoredDay:
    """A day of the real history: what was published, and what was made of it."""

    staged: Staged
    validated: Validated
    published: Published
    record: dict[str, Any] | None
    """None for a day that was ingested only."""


def replay_workspace(
    real: Workspace, first: date, overrides: Sequence[str], name: str | None
) -> Workspace:
    """The workspace of a replay that begins on `first`; nothing is written.

    Without a name, it has one made of the policy: the same command continues the same replay.

    Raises:
        ConfigError: an override, or the name, is not allowed.
    """
    config = with_overrides(real.config, overrides)
    name = name or _derived_name(config, first, overrides)
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r}: use at most 41 small letters, digits, - and _, beginning with a letter "
            "or digit."
        )
    replay = Replay(real.name, name)
    # Nobody reviews what never goes live, and nobody is told of it.
    promote = replace(config.promote, approval="automatic")
    config = config.model_copy(update={"promote": promote})
    return replace(real, name=replay.full_name, config=config, replay=replay, notices=())


def _derived_name(config: Pipeline, first: date, overrides: Sequence[str]) -> str:
    words = "-".join(text.partition(".")[2] or text for text in sorted(overrides)) or "as-it-was"
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:20].strip("-")
    digest = hashlib.sha256(json.dumps(_policy(config), sort_keys=True).encode()).hexdigest()
    return f"{first:%y%m%d}-{slug}-{digest[:8]}"


def _policy(config: Pipeline) -> dict[str, Any]:
    document = config.model_dump(mode="json", by_alias=True)
    return {section: document[section] for section in POLICIES}


def stored_days(real: Workspace, first: date, last: date) -> dict[date, StoredDay]:
    """The published days from `first` to `last`: of each the newest run that adapted to it.

    A later run that only published a correction is not what users got that day.
    """
    found: dict[date, StoredDay] = {}
    adapted: set[date] = set()
    for entry in real.journal.entries():
        if entry.day is None or not first <= entry.day <= last:
            continue
        if entry.event == "published" and entry.day not in found:
            found[entry.day] = _ingested(entry)
        if entry.event == "closed":
            closed = _closed(entry)
            assert closed.record is not None
            only_published = closed.record["verdict"] == "published only"
            if not (only_published and entry.day in adapted):
                found[entry.day] = closed
            adapted |= set() if only_published else {entry.day}
    return dict(sorted(found.items()))


def _ingested(entry: "Entry") -> StoredDay:
    evidence = entry.evidence
    digest = evidence.pop("source_digest")
    published = Published.model_validate(evidence).model_copy(update={"seconds": 0.0})
    return StoredDay(
        _staged(published, digest), Validated(results=[], passed=True), published, None
    )


def _closed(entry: "Entry") -> StoredDay:
    record = entry.evidence["record"]
    names = set(Published.model_fields) - {"seconds", "attempt"} - set(record["data_versions"])
    # <day>/r<revision>/a<attempt>/closed
    attempt = int(entry.key.split("/")[2].removeprefix("a"))
    facts = {name: record[name] for name in names}
    published = Published(**facts, **record["data_versions"], attempt=attempt)
    staged = _staged(published, record["source_digest"])
    return StoredDay(staged, Validated(**record["validation"]), published, record)


def _staged(published: Published, source_digest: str) -> Staged:
    return Staged(
        day=published.day,
        folder="",
        files=[],
        source_digest=source_digest,
        rows_read=published.rows_read,
        quarantined=published.quarantined,
        reasons=published.quarantine_reasons,
    )


def plan_replay(real: Workspace, workspace: Workspace, first: date, last: date) -> list[DayPlan]:
    """What a replay does with each day, and why; nothing is written."""
    stored = stored_days(real, first, last)
    return [_plan(workspace, day, stored.get(day)) for day in days_between(first, last)]


def _plan(workspace: Workspace, day: date, stored: StoredDay | None) -> DayPlan:
    if stored is None:
        return DayPlan(day, "missing", "not stored; a replay reads no logs")
    closed = workspace.journal.find(stored.published.key("closed"))
    if closed:
        return DayPlan(day, "skip", "replayed before", closed.evidence["record"])
    entries = workspace.journal.entries(day=day)
    if entries:
        return DayPlan(day, "continue", f"stopped after {entries[-1].event}")
    return DayPlan(day, "run", f"stored as revision {stored.published.revision}")


@stage
def begin_replay(real: Workspace, workspace: Workspace, first: date, last: date) -> list[StoredDay]:
    """The days to replay; the replay takes over the champion and profiles from before them.

    Raises:
        ConfigError: no day is stored, or the replay of that name is one of another policy, of another
            first day, or of days that were run again since.
    """
    days = list(stored_days(real, first, last).values())
    if not days:
        raise ConfigError(
            f"No day of {real.name} from {first} to {last} is stored, and a replay reads no logs. "
            f"Run them first: dayspring backfill {real.name} --from {first} --to {last}."
        )
    begun = workspace.journal.once("begun", "begun", lambda: _beginning(workspace, days[0]))
    _refuse_another_history(workspace, begun, days)
    _inherit_champion(real, workspace, days[0])
    _inherit_profiles(real, workspace, days[0].published.day)
    absent = (last - first).days + 1 - len(days)
    if absent:
        logger.warning("%d of the days from %s to %s are not stored", absent, first, last)
    return days


def _beginning(workspace: Workspace, first: StoredDay) -> "Outcome":
    from tasks.registry.journal import Outcome

    evidence = {"first": str(first.published.day), "policy": _policy(workspace.config)}
    return Outcome(f"replay from {first.published.day}", evidence=evidence)


def _refuse_another_history(workspace: Workspace, begun: "Entry", days: list[StoredDay]) -> None:
    replay, told = workspace.replay, begun.evidence
    assert replay is not None
    if told["policy"] != _policy(workspace.config):
        why = "has another policy"
    elif told["first"] != str(days[0].published.day):
        why = f"begins on {told['first']}"
    elif stale := [day for day in days if _was_another(workspace, day)]:
        why = f"read {stale[0].published.day} before that day was run again"
    else:
        return
    raise ConfigError(
        f"The replay {replay.name} of {replay.pipeline} {why}, and a history is not changed. "
        "Give this one a name of its own with --name."
    )


def _was_another(workspace: Workspace, day: StoredDay) -> bool:
    mine = day.published.key("")
    entries = workspace.journal.entries(day=day.published.day)
    return any(not entry.key.startswith(mine) for entry in entries)


def _inherit_champion(real: Workspace, workspace: Workspace, first: StoredDay) -> None:
    """Begin with the model that was live before the first day, so that only the policy differs."""
    from tasks.registry.journal import LIVE_SINCE, Outcome
    from tasks.registry.version import WARM_START

    live = first.record["champion"] if first.record else "zero-shot"
    if live == "zero-shot" or workspace.journal.find(INHERITED):
        return
    version = str(live).removeprefix("v")
    model = real.registry.version(version)
    copied = ("day", "trained_from", "trained_through", "data_versions", "trigger", "code_version")
    lineage = {WARM_START: model.tags[WARM_START]} if WARM_START in model.tags else {}
    made = workspace.registry.register(
        real.registry.download(version),
        fingerprint=f"{workspace.name}/{INHERITED}/{version}",
        loader_module="tasks.recommender.pyfunc",
        tags={name: model.tags[name] for name in copied} | lineage,
        params={},
        metrics={},
    )
    reason = f"{name_of(version)} of {real.name} was live before {first.published.day}"
    promotion = workspace.registry.promote(
        made.version, compared_with=None, reason=reason, evidence={}
    )
    assert promotion.live_since is not None
    outcome = Outcome(
        reason,
        model_version=made.version,
        evidence={LIVE_SINCE: promotion.live_since.isoformat()},
    )
    workspace.journal.once(INHERITED, "promoted", lambda: outcome)


def _inherit_profiles(real: Workspace, workspace: Workspace, first: date) -> None:
    """Copy what drift of the first days is measured against: profiles are facts about the data."""
    since = first - timedelta(days=CLICK_DAYS)
    if champion := workspace.registry.champion():
        learned = datetime.fromisoformat(champion.tags["trained_from"])
        since = min(since, learned.astimezone(zone(workspace.config)).date())
    if real.lake.version("profiles") is None:
        return
    profiles = real.lake.read("profiles", days=(since, first - timedelta(days=1)))
    for place in range(profiles.num_rows):
        day = profiles["event_date"][place].as_py()
        workspace.lake.replace_day(
            "profiles", day, profiles.slice(place, 1), app_id=f"profiles/{day}", app_version=0
        )
