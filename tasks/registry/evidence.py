"""Evidence as strict JSON: what a verdict rests on must read the same to every later reader."""

import json
import math
from collections.abc import Mapping, Sequence

from tasks.errors import RegistryError


def strict_json(evidence: Mapping[str, object]) -> str:
    """Write `evidence` as JSON that any parser reads back as the same values.

    Non-ASCII is escaped, so that text which was decoded badly upstream cannot break a table.

    Raises:
        RegistryError: a number is NaN or infinite, a key is no string, or a value is no JSON type;
            the message gives the path of the first such value.
    """
    _refuse_unfit(evidence, "evidence")
    return json.dumps(evidence, allow_nan=False, sort_keys=True)


def _refuse_unfit(value: object, path: str) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                raise RegistryError(
                    f"{path} is {value}: JSON has no such number. "
                    "Record null and say in the reason why the figure is undefined."
                )
        case Mapping():
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise RegistryError(
                        f"{path} has the key {key!r}: JSON keys are strings. Convert it first."
                    )
                _refuse_unfit(inner, f"{path}.{key}")
        case Sequence() if not isinstance(value, bytes | bytearray):
            for position, inner in enumerate(value):
                _refuse_unfit(inner, f"{path}[{position}]")
        case _:
            raise RegistryError(
                f"{path} is a {type(value).__name__}: evidence holds JSON types only. "
                "Convert arrays with .tolist() and times with .isoformat()."
            )
