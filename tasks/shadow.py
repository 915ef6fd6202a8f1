"""Stage: the challengers in shadow, judged on the whole day before anything trains on it.

What is decided is recorded first and carried out after that, each step safe to repeat: a run killed
anywhere promotes the same one, once. See docs/decisions/0006.
"""

from tasks.context import day_rows
from tasks.evaluate import rows_to_judge
from tasks.going_live import event_of, go_live
from tasks.in_shadow import SHADOWED, in_shadow, shadow_of
from tasks.memory import recorded, remembered
from tasks.models import live_champion, name_of
from tasks.notify import tell_verdict
from tasks.references import ChampionRecord, Published, Shadow, ShadowJudged, ShadowsJudged
from tasks.stage import logger, stage
from tasks.weighing import Rows, columns_of_groups, weigh
from tasks.workspace import Workspace


@stage
def judge_shadows(
    workspace: Workspace, published: Published, champion: ChampionRecord
) -> ShadowsJudged:
    """Score each challenger in shadow on the day; the best that has shown enough goes live."""
    key = published.key("shadows")
    if workspace.journal.find(key) is None and not _of_other_runs(workspace, published):
        return ShadowsJudged(shadows=[])
    planned = remembered(
        workspace,
        published,
        "shadows",
        ShadowsJudged,
        lambda: _plan(workspace, published, champion),
        reason=_words,
        model_version=winner_of,
    )
    settled = _carry_out(workspace, published, planned)
    for each in settled:
        tell_verdict(workspace, recorded(workspace, published, _step(each.shadow)))
        logger.info(
            "%s  shadow     v%s: %s: %s",
            published.day,
            each.shadow.version,
            each.decision,
            each.reason,
        )
    return ShadowsJudged(shadows=settled, seconds=planned.seconds)


def winner_of(planned: ShadowsJudged) -> str | None:
    """The version that is to go live by a day's plan."""
    winner = next((each for each in planned.shadows if each.decision == "promote"), None)
    return winner.shadow.version if winner else None


def _words(planned: ShadowsJudged) -> str:
    told = [f"v{each.shadow.version} {each.decision}" for each in planned.shadows]
    return "; ".join(told) or "none can be judged on this day"


def _plan(workspace: Workspace, published: Published, champion: ChampionRecord) -> ShadowsJudged:
    """What each is told, with at most one to promote."""
    if champion.overtaken_by:
        return ShadowsJudged(shadows=[])  # the day is only published
    live = live_champion(workspace)
    version = live.version if live else None
    rows: Rows | None = None
    found = []
    for shadow in _of_other_runs(workspace, published):
        if (void := _void(shadow, published, version)) is not None:
            found.append(_ended(shadow, void))
        elif shadow.begun < published.day and champion.version == version:
            rows = rows or _whole_day(workspace, published, version)
            found.append(_judged(workspace, rows, shadow))
        # Else it, or the champion, has learned from this very day or a later one.
    return ShadowsJudged(shadows=_one_winner(found))


def _of_other_runs(workspace: Workspace, published: Published) -> list[Shadow]:
    """Those in shadow, without the one that this very run of the day made before it was killed."""
    own = published.key("verdict")
    return [shadow_of(entry) for entry in in_shadow(workspace).values() if entry.key != own]


def _whole_day(workspace: Workspace, published: Published, champion: str | None) -> Rows:
    rows = day_rows(workspace, published, also=columns_of_groups(workspace))
    return rows_to_judge(workspace, published, rows, champion)


def _void(shadow: Shadow, published: Published, live: str | None) -> str | None:
    """Why its evidence says nothing any more; None while it does."""
    if shadow.begun == published.day:
        return f"{shadow.begun} is run again, and what is made of it now takes its place"
    return None if shadow.compared_with == live else _another_champion(shadow, live)


def _another_champion(shadow: Shadow, live: str | None) -> str:
    return (
        f"it was compared with {name_of(shadow.compared_with)}, but {name_of(live)} is live now: its "
        "evidence is void, and it leaves the shadow"
    )


def _ended(shadow: Shadow, reason: str) -> ShadowJudged:
    return ShadowJudged(
        shadow=shadow, decision="not enough evidence", reason=reason, contest=None, stays=False
    )


def _judged(workspace: Workspace, rows: Rows, shadow: Shadow) -> ShadowJudged:
    found = weigh(workspace, rows, shadow)
    undecided = found.decision == "not enough evidence"
    stays = undecided and rows.published.day < shadow.until
    return ShadowJudged(
        shadow=shadow,
        decision=found.decision,
        reason=found.reason + (_stays_or_goes(shadow, stays) if undecided else ""),
        contest=found.contest,
        stays=stays,
    )


def _stays_or_goes(shadow: Shadow, stays: bool) -> str:
    if stays:
        return in_shadow_until(shadow)
    return f"; dropped after {(shadow.until - shadow.begun).days} days in shadow"


def in_shadow_until(shadow: Shadow) -> str:
    """The end of the sentence of a challenger that stays."""
    return f"; in shadow until {shadow.until}"


def _one_winner(found: list[ShadowJudged]) -> list[ShadowJudged]:
    """Of several that have shown enough, the one with the best lower bound goes live; the others stay."""
    ready = [each for each in found if each.decision == "promote"]
    if len(ready) < 2:
        return found
    best = max(ready, key=lambda each: each.contest["low"] if each.contest else -1.0)
    words = f"; but v{best.shadow.version} gains more, and one model a day goes live"
    others = {"decision": "not enough evidence", "stays": True}
    return [
        each.model_copy(update={**others, "reason": each.reason + words})
        if each in ready and each is not best
        else each
        for each in found
    ]


def _carry_out(
    workspace: Workspace, published: Published, planned: ShadowsJudged
) -> list[ShadowJudged]:
    """The winner first, for what it wins over voids the others' evidence; in the plan's order."""
    order = sorted(planned.shadows, key=lambda each: each.decision != "promote")
    settled: dict[str, ShadowJudged] = {}
    winner: str | None = None
    for each in order:
        if winner and each.stays:
            void = _another_champion(each.shadow, winner)
            each = each.model_copy(update={"reason": void, "stays": False})
        done = _settled(workspace, published, each)
        winner = done.shadow.version if done.live_since else winner
        settled[done.shadow.version] = done
    return [settled[each.shadow.version] for each in planned.shadows]


def _settled(workspace: Workspace, published: Published, judged: ShadowJudged) -> ShadowJudged:
    """One decision in the registry, then in the journal."""
    return remembered(
        workspace,
        published,
        _step(judged.shadow),
        ShadowJudged,
        lambda: _registered(workspace, judged),
        reason=lambda found: found.reason,
        event=_event,
        model_version=lambda found: found.shadow.version,
    )


def _registered(workspace: Workspace, judged: ShadowJudged) -> ShadowJudged:
    shadow, evidence = judged.shadow, judged.contest or {}
    if judged.decision != "promote":
        workspace.registry.keep(
            shadow.version, verdict=judged.decision, reason=judged.reason, evidence=evidence
        )
        return judged
    settled = go_live(
        workspace,
        shadow.version,
        compared_with=shadow.compared_with,
        reason=judged.reason,
        evidence=evidence,
    )
    return judged.model_copy(update=settled._asdict())


def _event(judged: ShadowJudged) -> str:
    return SHADOWED if judged.stays else event_of(judged.decision, judged.live_since)


def _step(shadow: Shadow) -> str:
    return f"shadow-v{shadow.version}"
