import pytest
from pydantic import TypeAdapter, ValidationError

from tasks.evaluation.limits import FairnessLimits, Guardrails, SliceLimits

READ = TypeAdapter(Guardrails).validate_python


def test_what_is_not_written_stands_by_default_and_null_is_not_asked():
    read = READ({"slices": {"margin": 0.02}, "fairness": {"groups": ["surface"]}, "size": None})
    assert read.slices == SliceLimits(margin=0.02)
    assert read.fairness == FairnessLimits(groups=("surface",))
    assert read.size is None
    assert READ({}) == Guardrails()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"slice": {}}, "Unexpected keyword argument"),
        ({"slices": {"margin": 0}}, "greater than 0"),
        ({"forgetting": {"days_ago": True}}, "write digits"),
        ({"fairness": {"groups": ["gender"]}}, "should match pattern"),
        ({"confidence": 0.5}, "greater than 0.5"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(block, words):
    with pytest.raises(ValidationError, match=words):
        READ(block)


def test_groups_may_be_told_apart_by_any_key_of_the_context():
    assert READ({"fairness": {"groups": ["context.country"]}}).fairness.groups == (
        "context.country",
    )
