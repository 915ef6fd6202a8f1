"""A version's card as people read it: rows for a terminal, and Markdown for Prefect's pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.report import words
from tasks.report.words import MISSING, Record


def headline(card: Record) -> str:
    """ "v3, waiting: portal 2026-03-05, +0.0120 (+0.0040 to +0.0200) over v2"."""
    state = card["review"]["state"]
    shown = card["verdict"] if state == "not reviewed" else state
    live = ", live" if card["live"] else ""
    gain = words.gain_words(card["gain"])
    over = _model(card["lineage"]["compared_with"])
    return (
        f"v{card['version']}, {words.clip(shown)}{live}: {card['pipeline']} "
        f"{words.clip(card['day'])}, {gain} over {over}"
    )


def card_rows(card: Record) -> list[tuple[str, str]]:
    """Label and text of each line of the card; what is not known is a dash."""
    return [
        ("review", _review(card)),
        ("verdict", f"{words.clip(card['verdict'])}: {words.clip(card['reason'], 400)}"),
        ("gain", _gain(card["gain"])),
        ("slices", _slices(card["slices"])),
        ("guardrails", _guardrails(card["guardrails"])),
        ("metrics", _metrics(card["metrics"])),
        ("data", _data(card["data"])),
        ("validation", _validation(card["validation"])),
        ("drift", words.drift_words(card)),
        ("trigger", words.clip("; ".join(card["trigger"]), 400)),
        ("recipe", _pairs(card["turned"])),
        ("cost", _cost(card["cost"])),
        ("lineage", _lineage(card["lineage"])),
    ]


def card_lines(card: Record) -> list[str]:
    """The card as plain lines."""
    return [headline(card), *(f"  {label:<10}  {text}" for label, text in card_rows(card))]


def card_markdown(card: Record) -> str:
    """The card as a Markdown table."""
    from tasks.report.markdown import table

    return f"**{headline(card)}**\n\n{table(('', ''), card_rows(card))}\n"


def _review(card: Record) -> str:
    review = card["review"]
    state = words.clip(review["state"])
    if card["obstacle"]:
        return f"{state}, and cannot be approved now: {card['obstacle']}"
    if not review["by"]:
        return state
    return f"{state} by {words.clip(review['by'])}, {review['at']}: {words.clip(review['reason'], 400)}"


def _gain(gain: Record | None) -> str:
    if not gain:
        return MISSING
    return (
        f"{words.gain_words(gain)}, {words.percent_whole(gain['confidence'])} interval, "
        f"{words.count(gain['impressions'])} impressions of {words.count(gain['users'])} users"
    )


def _slices(slices: Any) -> str:
    if not slices:
        return "none measured"
    return "; ".join(
        f"{words.clip(each['slice'])} {words.gain_words(each, 3)} on {words.count(each['impressions'])}"
        for each in slices
    )


def _guardrails(rules: Sequence[Record] | None) -> str:
    """How many rules hold, and each that does not in its own words."""
    if not rules:
        return MISSING
    deciding = [rule for rule in rules if rule["decides"]]
    missed = [rule for rule in deciding if rule["decision"] != "pass"]
    told = [f"{len(deciding) - len(missed)} of {len(deciding)} pass"]
    told += [
        f"{words.clip(rule['rule'])}: {words.clip(rule['decision'])}, {words.clip(rule['reason'], 300)}"
        for rule in missed
    ]
    return "; ".join(told)


def _metrics(metrics: Mapping[str, Record] | None) -> str:
    if not metrics:
        return MISSING
    return "; ".join(
        f"{words.METRIC_NAMES.get(name, name)} {words.decimal(sides['challenger'], 4)} "
        f"(champion {words.decimal(sides['champion'], 4)})"
        for name, sides in metrics.items()
    )


def _data(found: Record | None) -> str:
    if not found:
        return MISSING
    days = ", ".join(f"{day} r{revision}" for day, revision in found["days"].items())
    old = f"; SUPERSEDED: {', '.join(found['superseded'])}" if found["superseded"] else ""
    return f"tables {_pairs(found['tables'])}; days {days}{old}"


def _validation(validation: Record | None) -> str:
    if not validation:
        return MISSING
    missed = [result for result in validation["results"] if not result["success"]]
    named = ", ".join(words.expectation_words(result["expectation"]) for result in missed)
    return f"passed, with {len(missed)} warnings: {named}" if missed else "passed"


def _cost(cost: Record | None) -> str:
    if not cost:
        return MISSING
    return (
        f"training {words.seconds(cost['train_seconds'])} of the day's "
        f"{words.seconds(cost['day_seconds'])}; {words.count(cost['shots'])} shots, "
        f"{words.count(cost['rows'])} rows"
    )


def _base(base: Record | None) -> str:
    return f"{words.clip(base['name'])} ({str(base['sha256'])[:12]}…)" if base else MISSING


def _lineage(lineage: Record) -> str:
    return (
        f"rows of {words.clip(lineage['trained_from'])} to "
        f"{words.clip(lineage['trained_through'])}{_start(lineage['warm_start'])}; "
        f"base {_base(lineage['base'])}; code {words.clip(lineage['code_version'])}; "
        f"MLflow run {words.clip(lineage['run_id'])}"
    )


def _start(start: Record | None) -> str:
    if not start:
        return ""
    return f"; started from {_model(start['version'] or 'zero-shot')} of {words.clip(start['pipeline'])}"


def _model(version: Any) -> str:
    if version is None:
        return MISSING
    return str(version) if version == "zero-shot" else f"v{version}"


def _pairs(values: Record | None) -> str:
    if not values:
        return MISSING
    return ", ".join(f"{words.clip(key)} {words.clip(value)}" for key, value in values.items())
