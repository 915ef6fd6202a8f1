"""What every block of knobs in pipelines.yaml has in common, wherever its dataclass lives."""

from pydantic import BeforeValidator, ConfigDict

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
"""What pydantic does with these dataclasses where pipelines.yaml is read."""


def _digits(given: object) -> object:
    # pydantic reads true as 1, and YAML reads yes and on as true.
    if isinstance(given, bool):
        raise ValueError(f"{given} is no number: write digits")
    return given


Digits = BeforeValidator(_digits)
"""A number that is written in digits."""
