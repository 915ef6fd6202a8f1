import base64
import hashlib
import math
import re
from html.parser import HTMLParser

import pytest
from day_records import CONTEST, make_quiet_record, make_record
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.report.page import render_day, render_index

VOID = {"meta", "br", "link", "img", "input", "hr"}
OPTIONAL = sorted(make_record())


class Page(HTMLParser):
    """Reads a page strictly: every element that opens is closed in its turn."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_the_page_says_what_happened():
    page = Page(render_day(make_record(), [make_quiet_record()]))
    for fact in (
        "Promoted: version 4 is live",
        "gain +0.0120 (95 % interval +0.0040 to +0.0200) clears min_gain 0.002",
        "61,204 read = 59,010 published + 1,836 quarantined + 358 duplicates; 412 late.",
        "sports: 31 % of candidates, was 12 %",
        "! category",
        "300 held-out impressions of 290 users; 95 % interval",
        "cold items +0.0310 (−0.0020 to +0.0620) 41 40",
        "column values to be between",
        "12 unexpected rows",
        "event_id=e-00123",
        "drift in category",
        "kept head, epoch 2",
        "1 min 24 s in all",
        "interactions 12 · items 3 · item_hours 12",
        "2026-03-02 to 2026-03-04",
    ):
        assert fact in page.text, fact


def test_the_verdict_comes_first_and_not_by_colour_alone():
    page = Page(render_day(make_record(), []))
    headline = page.text.index("Promoted: version 4 is live", page.text.index("all days"))
    assert headline < page.text.index("rows published")
    assert "✓" in page.text


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [
        ("promote", "Promoted: version 4 is live"),
        ("keep", "Kept: version 3 stays live"),
        ("not enough evidence", "Not enough evidence: version 3 stays live"),
        ("no retrain", "No retraining: version 3 stays live"),
        ("published only", "Published only: a newer day is already live"),
        (None, "No verdict"),
    ],
)
def test_every_verdict_has_its_words(verdict, headline):
    assert headline in Page(render_day(make_record(verdict=verdict), [])).text


def test_a_first_day_served_by_the_zero_shot_model_says_so():
    page = Page(render_day(make_record(champion="zero-shot", verdict="keep"), []))
    assert "Kept: the zero-shot model stays live" in page.text


SHADOWS = [
    {
        "version": "2",
        "begun": "2026-03-04",
        "until": "2026-03-11",
        "stays": True,
        "live": False,
        "decision": "not enough evidence",
        "reason": "gain +0.0031 does not clear min_gain; in shadow until 2026-03-11",
        "gain": 0.0031,
        "low": -0.001,
        "high": 0.008,
        "impressions": 900,
    },
    {
        "version": "1",
        "begun": "2026-03-03",
        "until": "2026-03-10",
        "stays": False,
        "live": True,
        "decision": "promote",
        "reason": "gain +0.0210 clears min_gain 0.002",
        "rules": [{"rule": "size", "decision": "pass", "reason": "0.6 MiB", "decides": True}],
        "gain": 0.021,
        "low": 0.004,
        "high": 0.04,
        "impressions": 1_234,
    },
]


def test_challengers_in_shadow_have_a_line_each_with_their_sentence():
    page = Page(render_day(make_record(verdict="reject", shadows=SHADOWS), []))
    assert "Promoted: version 1 is live, after days in shadow" in page.text
    for fact in ("+0.0031 (−0.0010 to +0.0080)", "? in shadow until 2026-03-11", "1,234", "✓ live"):
        assert fact in page.text, fact
    assert "gain +0.0031 does not clear min_gain; in shadow until 2026-03-11" in page.text
    assert "Guardrails of v1 rule verdict why size ✓ pass 0.6 MiB" in page.text
    assert "Guardrails of v2" not in page.text
    assert 'class="mark-name">v1<' in render_day(
        make_record(verdict="reject", shadows=SHADOWS), [make_record("2026-03-05")]
    )


def test_a_challenger_that_goes_into_shadow_says_so():
    record = make_record(verdict="not enough evidence", in_shadow_until="2026-03-13")
    text = Page(render_day(record, [])).text
    assert "Not enough evidence: version 4 stays in shadow, version 3 stays live" in text


def test_each_guardrail_has_its_verdict_and_its_reason():
    rules = [
        {"rule": "slice tail items", "decision": "breach", "reason": "gain -0.05", "decides": True},
        {"rule": "latency", "decision": "pass", "reason": "3.1 ms", "decides": True},
        {"rule": "slice rare", "decision": "breach", "reason": "gain -0.2", "decides": False},
    ]
    text = Page(render_day(make_record(contest={**CONTEST, "rules": rules}), [])).text
    for fact in ("slice tail items ✗ breach gain -0.05", "latency ✓ pass", "rare – shown only"):
        assert fact in text, fact


def test_a_quiet_day_shows_no_contest_no_drift_and_no_fine_tuning():
    page = Page(render_day(make_quiet_record(), []))
    for heading in ("Challenger against champion", "Drift by column", "Fine-tuning", "ROC"):
        assert heading not in page.text
    assert "Nothing was quarantined." in page.text
    assert "No challenger was trained: nothing drifted" in page.text


@pytest.mark.parametrize("missing", OPTIONAL)
@pytest.mark.parametrize("absent", ["key", "null"])
def test_every_part_is_optional(missing, absent):
    record = make_record()
    if absent == "key":
        del record[missing]
    else:
        record[missing] = None
    assert "None" not in Page(render_day(record, [make_quiet_record()])).text
    assert "None" not in Page(render_index([record])).text


def test_an_empty_record_is_a_page_too():
    assert "No verdict" in Page(render_day({}, [])).text
    assert "No day is complete yet." in Page(render_index([])).text


def test_nan_is_a_dash():
    broken = {**CONTEST, "gain": math.nan, "low": -math.inf, "high": math.inf}
    record = make_record(champion_auc=math.nan, contest=broken, seconds={"ingest": math.nan})
    text = Page(render_day(record, [make_record("2026-03-05", champion_auc=None)])).text
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs():
    for html in (render_day(make_record(), [make_quiet_record()]), render_index([make_record()])):
        page = Page(html)
        assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
        attributes = [(k, v) for _, pairs in page.elements for k, v in pairs.items()]
        assert not [k for k, _ in attributes if k.startswith("on") or k in {"src", "style"}]
        assert {v for k, v in attributes if k == "href"} <= {
            "index.html",
            "./drift.html",
            "./2026-03-06.html",
        }
        assert not re.search(r"https?:|url\(|@import", html)


def test_the_policy_allows_the_pages_own_style_sheet_and_nothing_else():
    html = render_day(make_record(), [])
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(p["content"] for tag, p in Page(html).elements if "http-equiv" in p)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


HOSTILE = (
    "</title></style><script>alert('1')</script>\"'><img src=x onerror=alert(1)>\n\u202e{{7*7}}"
)


def poisoned(value):
    """`value` with every text in it hostile, and a hostile key in each free mapping."""
    if isinstance(value, dict):
        return {key: poisoned(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_text_stays_text_wherever_it_stands():
    record = {
        **poisoned(make_record()),
        "quarantine_reasons": {HOSTILE: 3},
        "seconds": {HOSTILE: 1.0},
        "data_versions": {HOSTILE: 1},
    }
    for html in (render_day(record, [record]), render_index([record])):
        page = Page(html)
        tags = {tag for tag, _ in page.elements}
        assert not {"script", "img"} & tags
        assert "<script>alert" in page.text
        assert "{{7*7}}" in page.text
        assert "\u202e" not in html, "it would turn the text after it around"
        links = [pairs["href"] for tag, pairs in page.elements if tag == "a"]
        assert all(link.startswith(("./", "index.html")) for link in links)


def test_a_very_long_text_is_cut():
    record = make_record(reason="x" * 100_000, quarantine_reasons={"y" * 100_000: 1})
    assert len(render_day(record, [])) < 60_000


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gives_a_balanced_page(reason, column):
    drift = {"columns": [{"column": column, "words": reason}]}
    Page(render_day(make_record(reason=reason, drift=drift), []))


def test_days_are_shown_once_in_order_and_promotions_are_marked():
    history = [
        make_record("2026-03-05", model_version="3"),
        make_quiet_record("2026-03-04"),
        make_record("2026-03-05", model_version="9"),
    ]
    html = render_day(make_record(), history)
    assert re.findall(r">(03-0\d)<", html) == ["03-04", "03-05", "03-06"]
    assert re.findall(r'class="mark-name">(v\d)<', html) == ["v9", "v4"]


def test_the_index_lists_the_newest_day_first():
    page = Page(render_index([make_quiet_record(), make_record()]))
    links = [pairs["href"] for tag, pairs in page.elements if tag == "a"]
    assert links == ["./drift.html", "./2026-03-06.html", "./2026-03-06.html", "./2026-03-03.html"]
    assert "+0.0120 (+0.0040 to +0.0200)" in page.text


def test_the_index_links_a_list_for_each_month_the_newest_first():
    page = Page(render_index([make_record()], months=["2026-02", "2026-03"]))
    links = [pairs["href"] for tag, pairs in page.elements if tag == "a"]
    assert links[:3] == ["./index.html", "./2026-03.html", "./2026-02.html"]


def test_expectations_not_met_stand_above_those_that_are():
    text = Page(render_day(make_record(), [])).text
    assert text.index("column values to be between") < text.index("column values to not be null")
    assert "2 expectations, 1 not met" in text
