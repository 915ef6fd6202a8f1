from pathlib import Path

import pytest

from tasks.errors import ModelError
from tasks.recommender.rankers import template as template_module
from tasks.recommender.rankers.template import load_template, parse_template

GOOD = """
liked: "Liked: {titles}."
disliked: "Disliked: {titles}."
item: "Next: {title}"
answer: "Answer: {answer}"
positive: ["Yes"]
negative: ["No"]
"""
PACKAGED = Path(template_module.__file__).parent / "templates"


def test_packaged_templates_are_templates():
    names = sorted(path.stem for path in PACKAGED.glob("*.yaml"))
    assert names == ["book", "movie", "news"]
    for name in names:
        found = load_template(name)
        assert found.positive == ("Yes",)
        assert found.around_answer()[:2] == ("Answer:", " ")


def test_a_template_of_ones_own_is_read_by_its_path(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GOOD)
    assert load_template(str(path)).item == "Next: {title}"


def test_a_name_that_is_nothing_is_told_what_there_is():
    with pytest.raises(ModelError, match=r"'films'.*book, movie, news"):
        load_template("films")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("item:", "itme:"), r"item: Field required.*itme: Unexpected"),
        (('["Yes"]', "[Yes]"), r"positive\.0: .*quote it"),
        (("{title}", "{name}"), r"item must name \{title\} once, and names it 0 times"),
        (("{answer}", "{answer} or {answer}"), r"answer must name \{answer\} once, .* 2 times"),
        (('["No"]', "[]"), r"negative: .*at least 1"),
        (('["No"]', '[" No"]'), r"negative\.0"),
        (("item:", "? ["), "is not one"),
    ],
)
def test_what_breaks_a_rule_is_named(change, words):
    with pytest.raises(ModelError, match=f"(?s){words}"):
        parse_template(GOOD.replace(*change), "own")


def test_yaml_that_would_make_objects_is_refused():
    with pytest.raises(ModelError, match="could not determine a constructor"):
        parse_template("!!python/object/apply:os.getcwd []", "own")
