"""Whether a fine-tuning run is worth it today: the rules' opinions, combined."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.trigger.opinions import Facts, Opinion, ask, days
from tasks.trigger.rules import Probe, Rule, name_of

NO_CHAMPION = "no champion"
"""What the ledger calls a run that no rule asked for."""


@dataclass(frozen=True)
class Policy:
    """Which rules are asked, and how many of them must speak."""

    rules: tuple[Rule, ...]
    needed: int
    """1: any of them; all of them; or a vote between."""
    cool_down_days: int = 0
    """Days after a training on which no other begins."""


@dataclass(frozen=True)
class Decision:
    """The decision; `reasons` are those of the rules that made it."""

    retrain: bool
    reasons: list[str]
    opinions: list[Opinion]
    """Of every rule, in the order of the policy; none where no rule was asked."""


def decide_retrain(policy: Policy, facts: Facts, probe: Callable[[Probe], Opinion]) -> Decision:
    """Ask the rules in turn, the probes last and only while their answer can change the decision.

    Without a champion the answer is yes, whatever the rules and the cool-down say.

    Args:
        policy: `needed` is at most the number of rules.
        probe: fine-tunes and judges; the costly one.
    """
    champion = facts.champion
    if champion is None:
        opinion = Opinion(NO_CHAMPION, True, "no champion yet")
        return Decision(True, [opinion.words], [opinion])
    if (pause := _cool_down(policy, facts)) is not None:
        return Decision(False, [pause], [])
    found = {
        place: ask(rule, facts, champion)
        for place, rule in enumerate(policy.rules)
        if not isinstance(rule, Probe)
    }
    for place, rule in enumerate(policy.rules):
        if isinstance(rule, Probe):
            decided = _is_decided(policy, list(found.values()))
            found[place] = _not_asked(rule) if decided else probe(rule)
    return _combined(policy, [found[place] for place in sorted(found)])


def _cool_down(policy: Policy, facts: Facts) -> str | None:
    if facts.trained is None or not policy.cool_down_days:
        return None
    since = (facts.day - facts.trained).days
    if since > policy.cool_down_days:
        return None
    return (
        f"cool-down: a challenger was trained {days(since)} ago, "
        f"and none follows within {days(policy.cool_down_days)}"
    )


def _is_decided(policy: Policy, found: Sequence[Opinion]) -> bool:
    """Whether the rules that were not asked yet cannot change the decision."""
    votes, left = _votes(found), len(policy.rules) - len(found)
    return votes >= policy.needed or votes + left < policy.needed


def _votes(found: Sequence[Opinion]) -> int:
    return sum(opinion.spoke is True for opinion in found)


def _not_asked(rule: Probe) -> Opinion:
    return Opinion(name_of(rule), None, "not asked: the other rules had decided")


def _combined(policy: Policy, opinions: list[Opinion]) -> Decision:
    votes = _votes(opinions)
    if votes >= policy.needed:
        return Decision(True, [each.words for each in opinions if each.spoke], opinions)
    silent = [each.words for each in opinions if each.spoke is False]
    if policy.needed == 1:
        return Decision(False, silent, opinions)
    counted = f"{votes} of the {policy.needed} rules needed spoke"
    return Decision(False, [counted, *silent], opinions)
