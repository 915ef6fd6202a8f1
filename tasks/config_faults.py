"""What is wrong with pipelines.yaml, in its own words: a line for each fault, with path and rule."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tasks.config import Config
from tasks.config_finetune import Complaints

Loc = tuple[Any, ...]


def faults(error: ValidationError, above: Loc = ()) -> list[str]:
    """A line for each fault; `above` is the path in the document of what was validated."""
    return [
        line
        for each in error.errors()
        # A list whose only member is wrong is then also too short: that says nothing more.
        if each["type"] != "too_short" or not each["input"]
        for line in _explain({**each, "loc": (*above, *each["loc"])})
    ]


def _explain(error: dict[str, Any]) -> list[str]:
    shown, _ = follow(error["loc"])
    where, raised = ".".join(shown), error.get("ctx", {}).get("error")
    if isinstance(raised, Complaints):
        above = f"{where}." if where else ""
        return [f"{above}{line}" for line in raised.told]
    return [f"{where}{_told(error)}"]


def _told(error: dict[str, Any]) -> str:
    """What follows the path: the value, and the rule that it breaks."""
    kind, value = error["type"], error.get("input")
    context = error.get("ctx", {})
    match kind:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f": unknown key{_hint(error['loc'][-1], _siblings(error['loc']))}"
        case "missing":
            return ": is missing and has no default"
        case "union_tag_invalid":
            key, tags = _tags(error["loc"])
            return f".{key}: {context['tag']!r} is unknown{_hint(context['tag'], tags)}"
        case "union_tag_not_found":
            key, tags = _tags(error["loc"])
            return f".{key}: is missing{_hint('', tags)}"
        case "dataclass_type":
            return f": {value!r}: input should be a valid dictionary"
    message = str(error["msg"]).removeprefix("Value error, ")
    shown = "" if isinstance(value, dict | list) or kind == "value_error" else f"{value!r}: "
    return f": {shown}{message[:1].lower()}{message[1:]}"


def _hint(wrong: object, names: Sequence[str]) -> str:
    """Name what is allowed, the closest one first."""
    if not names:
        return ""
    close = difflib.get_close_matches(str(wrong), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"; {hint}allowed: {', '.join(names)}"


def _siblings(loc: Loc) -> list[str]:
    """The keys allowed beside the last part of `loc`."""
    return list(_keys(follow(loc[:-1])[1]))


def _tags(loc: Loc) -> tuple[str, list[str]]:
    """The key that tells the members of the union at `loc` apart, and its values."""
    found = members(follow(loc)[1])
    assert found is not None, "pydantic speaks of a tag only where members are told apart by one"
    return found[0], list(found[1])


def follow(loc: Iterable[Any]) -> tuple[list[str], Any]:
    """A path as YAML has it, and the type of what stands there.

    pydantic's path names the chosen member of a union, and marks a bad key; YAML has neither.
    """
    kind: Any = Config
    shown: list[str] = []
    for part in loc:
        told_apart = members(kind)
        if told_apart and part in told_apart[1]:
            kind = told_apart[1][part]
        elif part != "[key]":
            shown.append(str(part))
            kind = _below(kind, part)
    return shown, kind


def members(kind: Any) -> tuple[str, dict[str, type]] | None:
    """The key that tells the members of a union apart, and the members by its value."""
    tagged = [tag for each in get_args(_bare(kind)) if (tag := tag_of(each))]
    if not _is_union(_bare(kind)) or not tagged:
        return None
    return tagged[0][0], {value: member for _, value, member in tagged}


def tag_of(member: Any) -> tuple[str, str, type] | None:
    """The key that tells a member of a union apart from the others, its value, and the member."""
    for name, annotation in list(_keys(member).items())[:1]:
        values = get_args(annotation) if get_origin(annotation) is Literal else ()
        if len(values) == 1:
            return name, str(values[0]), member
    return None


def _keys(kind: Any) -> dict[str, Any]:
    """The keys of a block and the type of each."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return {field.name: field.type for field in fields(kind)}
    return {}


def _below(kind: Any, part: Any) -> Any:
    keys = _keys(kind)
    if keys:
        return keys.get(part)
    arguments = [each for each in get_args(_bare(kind)) if each is not Ellipsis]
    return arguments[-1] if arguments else None


def _bare(kind: Any) -> Any:
    """The type itself: without annotations, and without the None of what may be left out."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if not _is_union(kind):
        return kind
    given = [each for each in get_args(kind) if each is not NoneType]
    return _bare(given[0]) if len(given) == 1 else kind


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)
