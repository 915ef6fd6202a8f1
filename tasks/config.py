"""pipelines.yaml, typed: the one file that an operator edits.

`load_config` reports everything that is wrong at once, each with its path, the value, and what is allowed.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from tasks.errors import ConfigError

Share = Annotated[float, Field(ge=0, lt=1)]
Ratio = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A block of pipelines.yaml: unknown keys are errors, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Berlin{hint}")
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class Source(Section):
    """Where the logs and the catalogue come from, and how to read them."""

    format: Literal["jsonl", "csv", "tsv", "parquet", "mind"]
    """Format of both; `.gz` and `.zst` are recognised by suffix."""
    interactions: str = Field(min_length=1)
    """Path or glob; `{date}` stands for the day. Without it, a day takes its own rows of the whole."""
    items: str = Field(min_length=1)
    """Path or glob of the catalogue; `{date}` likewise."""
    columns: dict[str, str] = {}
    """Our column name to the log's, for those that differ."""
    item_columns: dict[str, str] = {}
    """Our column name to the catalogue's, for those that differ."""
    time_zone: TimeZone = "UTC"
    """Where a day begins, and the zone of times that name none."""
    late_days: int = Field(3, ge=0, le=60)
    """Events up to so many days old go to their own day; older ones are quarantined."""


class Schedule(Section):
    """When the daily flow runs."""

    cron: str
    """Five cron fields."""
    time_zone: TimeZone = "UTC"
    """Zone of the cron fields."""

    @model_validator(mode="after")
    def _cron_parses(self) -> "Schedule":
        if len(self.cron.split()) != 5:
            raise ValueError(
                f"cron {self.cron!r} must have five fields: minute hour day month weekday"
            )
        return self


class Expectation(BaseModel):
    """One more Great Expectations rule; every other key is an argument of that class."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    """Class name, such as ExpectColumnMeanToBeBetween."""
    severity: Literal["critical", "warning"] = "warning"
    """critical stops the day before anything is published; warning is reported."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the expectation's class."""
        return dict(self.model_extra or {})


class Validate(Section):
    """What a day must look like before it is published."""

    recent_days: int = Field(7, ge=1)
    """Row count and click rate are held against so many published days."""
    min_row_ratio: Ratio = 0.3
    """Fewest rows, as a share of the recent days' mean."""
    max_row_ratio: Ratio = 3.0
    """Most rows, as a multiple of the recent days' mean."""
    min_click_ratio: Ratio = 0.5
    """Lowest click rate, as a share of the recent days' click rate."""
    max_click_ratio: Ratio = 2.0
    """Highest click rate, as a multiple of the recent days' click rate."""
    min_known_items: float = Field(0.9, ge=0, le=1)
    """Share of rows whose item the catalogue must know."""
    max_quarantined: float = Field(0.2, ge=0, le=1)
    """Share of the rows read that may be refused before the day stops."""
    expectations: tuple[Expectation, ...] = ()
    """Further rules, by Great Expectations class name."""


class Drift(Section):
    """What counts as a changed world."""

    thresholds: dict[str, Ratio] = {}
    """Effect size by measure above which a column has drifted; unnamed measures keep their default."""


class Always(Section):
    """Retrain every day."""

    rule: Literal["always"]


class Cadence(Section):
    """Retrain when the champion is old."""

    rule: Literal["cadence"]
    every_days: int = Field(ge=1)
    """Age of the champion's newest training data."""


class DriftRule(Section):
    """Retrain when columns drifted."""

    rule: Literal["drift"]
    min_columns: int = Field(1, ge=1)
    """How many columns must have drifted."""


class Performance(Section):
    """Retrain when the champion's prequential AUC fell."""

    rule: Literal["performance"]
    max_drop: float = Field(gt=0, lt=1)
    """AUC below the mean of the window before."""
    window_days: int = Field(7, ge=1)
    """How many earlier days the fall is measured against."""


Rule = Annotated[Always | Cadence | DriftRule | Performance, Field(discriminator="rule")]


class Retrain(Section):
    """When to spend a fine-tuning run; without a champion always."""

    any: tuple[Rule, ...] = Field(min_length=1)
    """One rule that speaks is enough."""


class Finetune(Section):
    """The few-shot recipe of the challenger."""

    ranker: Literal["hybrid"] = "hybrid"
    """The ranker; see docs/model.md."""
    base: str = "all-MiniLM-L6-v2"
    """Base encoder: a local path, the packaged default, or a Hugging Face name."""
    shots: int = Field(ge=1)
    """Labelled impressions in total."""
    window_days: int = Field(14, ge=1)
    """Shots come from so many days up to and including the day."""
    replay_share: Share = 0.2
    """Share of the shots drawn from the days before the newest one."""
    validation_share: Share = 0.15
    """Share of the day for early stopping: later than every shot, earlier than the holdout."""
    head_epochs: int = Field(40, ge=0)
    """Most passes over the shots with a frozen encoder."""
    adapter_epochs: int = Field(2, ge=0)
    """Most passes with the LoRA adapter; 0 trains the head alone."""
    seed: int = 17
    """Seed of shuffling, dropout and replay."""


class Promote(Section):
    """The bar for going live."""

    min_gain: float = Field(ge=0, lt=0.5)
    """Impression AUC that the challenger must gain over the champion."""
    confidence: float = Field(gt=0.5, lt=1)
    """Confidence of the interval that has to clear it."""
    holdout_share: float = Field(0.3, gt=0, lt=1)
    """Share of the day's impressions, the latest ones, on which both are judged."""
    min_impressions: int = Field(100, ge=2)
    """Fewest judged impressions for any verdict."""


class Compute(Section):
    """Where the numbers are made."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: CUDA, else MPS, else the processor."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where the processor or card has it."""
    memory_gib: float = Field(2.0, ge=0.25)
    """Ceiling of the ingest engine's memory; what exceeds it spills to disk."""


PipelineName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class Pipeline(Section):
    """One recommender to keep fresh."""

    source: Source
    schedule: Schedule
    validate_: Validate = Field(default=Validate(), alias="validate")
    drift: Drift = Drift()
    retrain: Retrain
    finetune: Finetune
    promote: Promote
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _day_is_not_overspent(self) -> "Pipeline":
        spent = self.finetune.validation_share + self.promote.holdout_share
        if spent >= 1:
            raise ValueError(
                f"finetune.validation_share + promote.holdout_share is {spent:g} of the day and "
                "leaves no shots: make their sum less than 1"
            )
        return self


class Config(Section):
    """The whole document."""

    home: str = "./.dayspring"
    """Folder of all state; relative paths start at pipelines.yaml's folder."""
    pipelines: dict[PipelineName, Pipeline] = Field(min_length=1)
    """Pipelines by name."""


_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


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
        raise ConfigError(_explain(path, error, document, missing)) from None
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


def _read_yaml(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Start dayspring in the folder of pipelines.yaml, or name it "
            "with --config."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}") from None
    try:
        document = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must be a mapping with the keys home and pipelines.")
    return document


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


def _explain(path: Path, error: ValidationError, document: object, missing: list[str]) -> str:
    lines = [_explain_one(dict(e)) for e in error.errors()]
    return _listed(path, [*missing, *lines])


def _listed(path: Path, lines: list[str]) -> str:
    count = f"{len(lines)} error" + ("s" if len(lines) > 1 else "")
    return "\n".join([f"{path} has {count}; nothing was started:", *(f"  {x}" for x in lines)])


def _explain_one(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in _RULE_NAMES)
    kind, value = error["type"], error.get("input")
    if kind == "extra_forbidden":
        return f"{where}: unknown key{_allowed_keys(error['loc'])}"
    if kind == "missing":
        return f"{where}: is missing and has no default"
    message = str(error["msg"]).removeprefix("Value error, ")
    shown = "" if isinstance(value, dict | list) or kind == "value_error" else f"{value!r}: "
    return f"{where}: {shown}{message[:1].lower()}{message[1:]}"


_RULES: dict[str, type[Section]] = {
    "always": Always,
    "cadence": Cadence,
    "drift": DriftRule,
    "performance": Performance,
}
# pydantic puts the chosen member of a union into an error's path: ("any", 0, "drift", "min_columns")
_RULE_NAMES = frozenset({"[key]"})


def _allowed_keys(loc: tuple[Any, ...]) -> str:
    """Name the keys allowed beside the last part of `loc`, the closest one first."""
    model: Any = Config
    for part in loc[:-1]:
        model = _descend(model, part)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    names = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(str(loc[-1]), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"; {hint}allowed: {', '.join(names)}"


def _descend(model: Any, part: Any) -> Any:
    if isinstance(model, type) and issubclass(model, BaseModel):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        return fields[part].annotation if part in fields else None
    if part in _RULES:
        return _RULES[part]
    arguments = [a for a in get_args(model) if a is not Ellipsis]
    return arguments[-1] if arguments else None


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
    return config.model_copy(update={"home": anchor(config.home), "pipelines": pipelines})


def zone(pipeline: Pipeline) -> ZoneInfo:
    """The time zone in which `pipeline`'s days begin."""
    return ZoneInfo(pipeline.source.time_zone)
