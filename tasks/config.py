"""pipelines.yaml, typed: the one file that an operator edits.

Read it with `tasks.config_file.load_config`. What has no default, the operator has to decide.
"""

import difflib
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tasks.config_drift import Drift
from tasks.config_finetune import Complaints, Finetune, PipelineName
from tasks.config_promote import Promote
from tasks.config_retrain import Retrain

Ratio = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A block of pipelines.yaml: unknown keys are errors, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, given: Any) -> Any:
        # pydantic reads true as 1, and YAML reads yes and on as true.
        for name, field in cls.model_fields.items():
            value = given.get(name) if isinstance(given, dict) else None
            if isinstance(value, bool) and field.annotation in (int, float):
                raise ValueError(f"{name} is {value}, which is no number: write digits")
        return given


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
    """Path or glob; `{date}` is the day. Without it, a day takes its own rows of the whole."""
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
        try:
            next(CronSim(self.cron, datetime(2000, 1, 1)))
        except CronSimError as error:
            field = str(error).removeprefix("Bad ")
            raise ValueError(
                f"cron {self.cron!r} has a bad {field}; its fields are minute hour day month "
                "weekday, such as 30 4 * * *"
            ) from None
        return self

    def next_run(self, after: datetime) -> datetime:
        """The first time after `after` at which the daily flow is due."""
        return next(CronSim(self.cron, after.astimezone(ZoneInfo(self.time_zone))))


Severity = Literal["critical", "warning"]


class Expectation(BaseModel):
    """One more Great Expectations rule; every other key is an argument of that class."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    """Class name, such as ExpectColumnMeanToBeBetween."""
    severity: Severity = "warning"
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
    severities: dict[
        Literal["keys", "unique", "labels", "times", "rows", "clicks", "items"],
        Severity,
    ] = {}
    """Severity by built-in rule; all are critical by default."""
    expectations: tuple[Expectation, ...] = ()
    """Further rules, by Great Expectations class name."""


class Compute(Section):
    """Where the numbers are made."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: CUDA, else MPS, else the processor."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where the processor or card has it."""
    memory_gib: float = Field(2.0, ge=0.25)
    """Ceiling of the ingest engine's memory; what exceeds it spills to disk."""
    pool: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]*)?$")
    """Prefect work pool whose workers fine-tune; empty: the day's own process."""
    wait_minutes: float = Field(120.0, gt=0)
    """How long a day waits for the pool, its queue included, before it fails."""


class Retention(Section):
    """What `dayspring prune` may remove; the live model and what a rollback needs always stay."""

    versions: int = Field(30, ge=1)
    """Newest model versions that are kept, whatever became of them."""
    rollback_days: int = Field(90, ge=1)
    """Every model that was live within so many days is kept."""
    delta_days: int = Field(30, ge=1)
    """Every state of the tables within so many days stays readable; a kept model's as long as it."""


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
    retention: Retention = Retention()

    @model_validator(mode="after")
    def _day_is_not_overspent(self) -> "Pipeline":
        spent = self.finetune.validation_share + self.promote.holdout_share
        if spent >= 1:
            raise ValueError(
                f"finetune.validation_share + promote.holdout_share is {spent:g} of the day and "
                "leaves no shots: make their sum less than 1"
            )
        return self

    @model_validator(mode="after")
    def _a_probe_has_a_head_to_train(self) -> "Pipeline":
        ranker = self.finetune.ranker.kind
        if ranker != "hybrid" and any(rule.rule == "probe" for rule in self.retrain.policy.rules):
            raise ValueError(
                f"retrain: a probe trains the head of finetune.ranker.kind hybrid, and this is {ranker}; "
                "use another rule, or that ranker"
            )
        return self


class Services(Section):
    """Where shared state lives when more than one machine takes part; empty is under home.

    Prefect's server is named by Prefect's own PREFECT_API_URL, credentials by their own variables.
    """

    lake: str = ""
    """Folder or object-store URL of the Delta tables, such as s3://bucket/lake."""
    registry: str = Field("", pattern=r"^(https?://\S+)?$")
    """Address of an MLflow server; artifacts go where the server puts them."""


NoticeKind = Literal["failure", "promotion", "approval", "drift"]


class Notice(Section):
    """Whom to tell, and of what."""

    to: str
    """An Apprise URL, such as slack://… or mailto://…; it may hold a secret: take it from ${VAR}."""
    events: tuple[NoticeKind, ...] = Field(min_length=1)
    """What is told."""


def _local_folder(home: str) -> str:
    if "://" in home:
        raise ValueError(
            f"{home!r} is no folder of this machine: name one, and set services.lake for tables on "
            "an object store"
        )
    return home


class Config(Section):
    """The whole document."""

    home: Annotated[str, AfterValidator(_local_folder)] = "./.dayspring"
    """Folder of all state; relative paths start at pipelines.yaml's folder."""
    services: Services = Services()
    """Shared state on servers and object stores."""
    notify: tuple[Notice, ...] = ()
    """Messages to people; a place whose `to` is empty is left out."""
    pipelines: dict[PipelineName, Pipeline] = Field(min_length=1)
    """Pipelines by name."""

    @model_validator(mode="after")
    def _warm_starts_fit(self) -> "Config":
        told = [
            f"pipelines.{name}.finetune.warm_start: {fault}"
            for name in self.pipelines
            if (fault := _unfit_start(name, self.pipelines))
        ]
        if told:
            raise Complaints(told)
        return self


def _unfit_start(name: str, pipelines: dict[str, Pipeline]) -> str | None:
    """Why `name` cannot start from the pipeline that its warm_start names, or None."""
    own = pipelines[name].finetune
    start = own.start
    if start is None or start.pipeline in (None, name):
        return None
    if start.pipeline not in pipelines:
        close = difflib.get_close_matches(start.pipeline, pipelines, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"there is no pipeline {start.pipeline!r}; {hint}allowed: {', '.join(pipelines)}"
    other = pipelines[start.pipeline].finetune
    here, there = (f"{each.ranker.kind} on {each.base}" for each in (own, other))
    if here != there and start.version is None:
        return (
            f"{start.pipeline} trains {there} and {name} {here}: give both the same ranker and "
            "base, or remove warm_start"
        )
    return None


def zone(pipeline: Pipeline) -> ZoneInfo:
    """The time zone in which `pipeline`'s days begin."""
    return ZoneInfo(pipeline.source.time_zone)
