"""No bad input gives a traceback; each answer names value, rule and next step; no row is lost."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bad_inputs import ODD_DAY, Answer, Faults, ask, ask_rows, faults, prepare, state
from corpus import CORPUS, ITEMS, ROWS
from corpus.case import Bad
from corpus.home import copy_case

BY_ID = {bad.id: bad for bad in CORPUS}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, prefect_server) -> Path:
    return prepare(tmp_path_factory.mktemp("bad") / "prepared")


@pytest.fixture(scope="module")
def odd_day(prepared) -> tuple[Answer, Faults]:
    return ask_rows(prepared, prepared.with_name("odd-day"))


def test_the_corpus_is_of_every_kind_and_says_nothing_twice():
    assert len(BY_ID) == len(CORPUS) >= 160
    assert len({row.name for row in [*ROWS, *ITEMS]}) == len(ROWS) + len(ITEMS) >= 50
    kinds = Counter(bad.kind for bad in CORPUS)
    assert set(kinds) == {"file", "row", "catalogue", "config", "model", "command", "lake"}
    assert all(len(bad.says) == 3 for bad in CORPUS if bad.code), "value, rule and next step"


@pytest.mark.parametrize("name", BY_ID)
def test_a_bad_input_is_answered_and_does_no_harm(name, prepared, tmp_path):
    bad = BY_ID[name]
    answer = ask(bad, prepared, tmp_path / "case")
    assert not faults(bad, answer), answer.err


def test_a_day_with_bad_rows_and_items_among_good_ones_is_published(odd_day):
    answer, _ = odd_day
    assert not faults(ODD_DAY, answer), answer.err


@pytest.mark.parametrize("name", [row.name for row in [*ROWS, *ITEMS]])
def test_a_bad_row_is_kept_with_its_line_and_reason_or_counted(name, odd_day):
    _, by_row = odd_day
    assert not by_row[name]


def test_html_of_the_catalogue_is_text_in_the_report(odd_day, prepared):
    page = prepared.with_name("odd-day") / "home" / "reports" / "portal" / "2026-03-03.html"
    assert "<script>alert" not in page.read_text()


@pytest.mark.parametrize(
    "name",
    [
        "file: truncated gzip",
        "config: a Python object",
        "command: a day that does not exist",
        "model: an altered head",
    ],
)
def test_a_process_of_its_own_answers_the_same(name, prepared, tmp_path):
    from prefect.settings import PREFECT_API_URL

    bad: Bad = BY_ID[name]
    case = copy_case(prepared, tmp_path / "case")
    bad.damage(case)
    before = state(case)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *bad.command],
        cwd=case.folder,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        },
        capture_output=True,
        text=True,
    )
    answer = Answer(done.returncode, done.stdout, done.stderr, before, state(case))
    assert not faults(bad, answer), answer.err
