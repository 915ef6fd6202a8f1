"""Reading pipelines.yaml: variables, validation, and every error at once."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tasks.config import Config, Pipeline
from tasks.config_faults import faults, follow, members
from tasks.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


MOST_VALUES = 100_000
"""Of a whole document; a pipeline has about fifty."""


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice, where YAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} appears twice", key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read and validate `path`; relative locations become absolute from its folder.

    Args:
        path: pipelines.yaml.
        environ: values for `${VAR}`; the process environment by default.

    Raises:
        ConfigError: lists every error, a line each: path, value, what is allowed.
    """
    document = _read_yaml(path)
    missing: list[str] = []
    document = _substitute(document, os.environ if environ is None else environ, (), missing)
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_listed(path, [*missing, *faults(error)])) from None
    if missing:
        raise ConfigError(_listed(path, missing))
    return _anchored(config, path.resolve().parent)


def load_pipeline(config: Config, name: str) -> Pipeline:
    """The pipeline `name`, or a ConfigError that lists those there are."""
    if name in config.pipelines:
        return config.pipelines[name]
    close = difflib.get_close_matches(name, config.pipelines, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    known = ", ".join(config.pipelines)
    raise ConfigError(f"There is no pipeline {name!r}; pipelines.yaml has: {known}.{hint}")


def with_overrides(pipeline: Pipeline, settings: Sequence[str]) -> Pipeline:
    """`pipeline` with policies replaced by `--set path=value` pairs, such as finetune.shots=512.

    Raises:
        ConfigError: lists every error, a line each, as `load_config` does.
    """
    document = pipeline.model_dump(mode="json", by_alias=True)
    # What chooses the kind of a block clears it, so what it shall hold comes after.
    ordered = sorted(
        settings, key=lambda text: not _chooses_kind(text.partition("=")[0].split("."))
    )
    told = [fault for text in ordered if (fault := _override(document, text))]
    try:
        changed = Pipeline.model_validate(document)
    except ValidationError as error:
        # As a part of the whole document, whose keys the explanation knows.
        told += [line.removeprefix("pipelines.-.") for line in faults(error, _PLACE)]
    if told:
        step = "Correct them, then repeat the command."
        raise ConfigError(_listed("--set", told, step))
    return changed


_PLACE = ("pipelines", "-")


def _chooses_kind(path: Sequence[str]) -> bool:
    """Whether the key at `path` of a pipeline decides which other keys stand beside it."""
    told_apart = members(follow((*_PLACE, *path[:-1]))[1])
    return told_apart is not None and path[-1] == told_apart[0]


POLICIES = ("drift", "retrain", "finetune", "promote")
"""Sections that decide what is made of a stored day; the others decide how it is stored."""


def _override(document: dict[str, Any], setting: str) -> str | None:
    """Put one `path=value` into `document`; what is wrong with it, or None."""
    path, equals, value = setting.partition("=")
    parts = path.strip().split(".")
    if not equals:
        return f"{setting}: has no =; write path=value, such as finetune.shots=512"
    if parts[0] not in POLICIES:
        close = difflib.get_close_matches(parts[0], POLICIES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{path}: is no policy over stored days; {hint}allowed: {', '.join(POLICIES)}"
    try:
        loaded = yaml.safe_load(value)
    except yaml.YAMLError:
        return f"{path}: {value!r} is not a YAML value"
    place: Any = document
    for part, below in pairwise(parts):
        try:
            place = place[int(part)] if isinstance(place, list) else place[part]
        except (LookupError, TypeError, ValueError):
            return f"{path}: there is no {part!r} that holds {below!r}"
    if _chooses_kind(parts) and place.get(parts[-1]) != loaded:
        place.clear()
    try:
        place[int(parts[-1]) if isinstance(place, list) else parts[-1]] = loaded
    except (LookupError, TypeError, ValueError):
        return f"{path}: there is no {parts[-1]!r} to set"
    return None


def _read_yaml(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Start dayspring in the folder of pipelines.yaml, or name it "
            "with --config."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name a readable file with --config."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8."
        ) from None
    try:
        document = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}\nRepair that place.") from None
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path} holds {'nothing' if document is None else repr(document)[:80]}, and must be a "
            "mapping. Write the keys home and pipelines, as the README shows."
        )
    _refuse_expansion(path, document)
    return document


def _refuse_expansion(path: Path, document: object) -> None:
    """Refuse aliases that make a short text a huge or endless document."""
    waiting, values = [document], 0
    while waiting:
        value = waiting.pop()
        values += 1
        if values > MOST_VALUES:
            raise ConfigError(
                f"{path} has more than {MOST_VALUES:,} values once its aliases (*name) are filled in. "
                "Write out what they stand for, or use fewer."
            )
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _substitute(
    value: object, environ: Mapping[str, str], path: tuple[str, ...], missing: list[str]
) -> object:
    if isinstance(value, dict):
        return {k: _substitute(v, environ, (*path, str(k)), missing) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, environ, (*path, str(i)), missing) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def resolve(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        # As in a shell, `:-` also replaces a variable that is set but empty.
        found = environ.get(name) or default
        if found is None:
            missing.append(
                f"{'.'.join(path)}: ${{{name}}} is not set; export {name}, or write "
                f"${{{name}:-default}}"
            )
            return match[0]
        return found

    return _VARIABLE.sub(resolve, value)


LOOK_AGAIN = "Change them, then look again with `dayspring config check`."


def _listed(path: Path | str, lines: list[str], step: str = LOOK_AGAIN) -> str:
    count = f"{len(lines)} error" + ("s" if len(lines) > 1 else "")
    return "\n".join(
        [
            f"{path} has {count}; nothing was started:",
            *(f"  {x}" for x in lines),
            step,
        ]
    )


def _anchored(config: Config, folder: Path) -> Config:
    """`config` with relative locations made absolute from `folder`."""

    def anchor(location: str) -> str:
        if "://" in location:
            return location
        return str(folder / Path(location).expanduser())

    pipelines = {
        name: pipeline.model_copy(
            update={
                "source": pipeline.source.model_copy(
                    update={
                        "interactions": anchor(pipeline.source.interactions),
                        "items": anchor(pipeline.source.items),
                    }
                )
            }
        )
        for name, pipeline in config.pipelines.items()
    }
    lake = config.services.lake and anchor(config.services.lake)
    return config.model_copy(
        update={
            "home": anchor(config.home),
            "services": config.services.model_copy(update={"lake": lake}),
            "pipelines": pipelines,
        }
    )
