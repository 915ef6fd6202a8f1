"""What the commands do, as plain functions that hand back records."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.server import reaching_server
from flows.terminal import progress
from tasks.config import Notice, Pipeline, zone
from tasks.config_file import LOOK_AGAIN, load_config
from tasks.environment import keep_state_under
from tasks.errors import ConfigError
from tasks.plan import INGESTED, DayPlan, plan_days
from tasks.records import closed_records, newest_closed, report_path
from tasks.sources import source_of
from tasks.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from tasks.predict import Answered, Task


def run_day(config_file: Path, pipeline: str, day: date | None, *, force: bool) -> dict[str, Any]:
    """Run the daily flow; `day` is yesterday in the source's time zone unless given."""
    workspace = prepared(config_file, pipeline)
    _refuse_faults({pipeline: workspace.config})
    from flows.daily import daily

    with progress(), reaching_server(_server()):
        record = daily(pipeline, day or _yesterday(workspace.config), config_file, force)
    return _with_page(workspace, record)


def plan_range(
    config_file: Path,
    pipeline: str,
    first: date,
    last: date,
    *,
    force: bool,
    only_ingest: bool = False,
) -> list[DayPlan]:
    """What `run_range` would do, day by day."""
    workspace = prepared(config_file, pipeline)
    return plan_days(workspace, first, last, force=force, only_ingest=only_ingest)


def run_range(
    config_file: Path,
    pipeline: str,
    first: date,
    last: date,
    *,
    force: bool,
    only_ingest: bool = False,
    parallel: int = 0,
) -> list[dict[str, Any]]:
    """Run the backfill flow."""
    workspace = prepared(config_file, pipeline)
    _refuse_faults({pipeline: workspace.config})
    from flows.backfill import backfill

    with progress(), reaching_server(_server()):
        records = backfill(pipeline, first, last, config_file, force, only_ingest, parallel)
    return [_with_page(workspace, record) for record in records]


def _server() -> str:
    """The server that keeps the run: the address that Prefect was given, or its temporary one."""
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value() or "of this run")


def repairs(config_file: Path, pipeline: str, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which models learned from rows that the records' days have replaced, and what repairs that."""
    from tasks.superseded import repair_commands, superseded_models

    workspace = prepared(config_file, pipeline)
    corrected = {record["day"] for record in records if record.get("superseded")}
    found = [each for each in superseded_models(workspace) if str(each.day) in corrected]
    commands = repair_commands(workspace, found)
    lines = [f"{each.words}." for each in found]
    if not commands:
        return [*lines, "None of them is live: nothing has to be repaired."] if lines else []
    return [*lines, "To serve a model that learned from the present rows:", *commands]


def plan_replay(
    config_file: Path,
    pipeline: str,
    first: date,
    last: date,
    *,
    overrides: Sequence[str],
    name: str | None,
) -> tuple[str, list[DayPlan]]:
    """The name of a replay, and what it would do day by day."""
    from tasks.replay import plan_replay, replay_workspace

    real = prepared(config_file, pipeline)
    workspace = replay_workspace(real, first, overrides, name)
    _refuse_faults({pipeline: workspace.config})
    return workspace.name, plan_replay(real, workspace, first, last)


def replay_range(
    config_file: Path,
    pipeline: str,
    first: date,
    last: date,
    *,
    overrides: Sequence[str],
    name: str | None,
) -> dict[str, Any]:
    """Run the replay flow; the comparison of the two histories."""
    plan_replay(config_file, pipeline, first, last, overrides=overrides, name=name)
    from flows.replay import replay

    with progress():
        return replay(pipeline, first, last, config_file, list(overrides), name)


def sweep_day(
    config_file: Path, pipeline: str, day: date | None, *, trials: int, seconds: float | None
) -> dict[str, Any]:
    """Search the knobs of fine-tuning on a published day."""
    workspace = prepared(config_file, pipeline)
    from tasks.sweep import sweep

    with progress():
        return sweep(workspace, day, trials=trials, seconds=seconds)


def _with_page(workspace: Workspace, record: dict[str, Any]) -> dict[str, Any]:
    """The record with the path of its page, which is not the journal's: a home may be moved."""
    if record["verdict"] == INGESTED:
        return record
    return {**record, "report": str(report_path(workspace, date.fromisoformat(record["day"])))}


def prepared(config_file: Path, pipeline: str) -> Workspace:
    """The workspace, with Prefect's home set before Prefect is imported."""
    workspace = open_workspace(config_file, pipeline)
    keep_state_under(workspace.home)
    return workspace


def chosen(config_file: Path, pipeline: str | None) -> list[Workspace]:
    """The workspace of `pipeline`, or of every pipeline of the file where none is named."""
    names = [pipeline] if pipeline else list(load_config(config_file).pipelines)
    return [prepared(config_file, name) for name in names]


def _yesterday(config: Pipeline) -> date:
    return datetime.now(zone(config)).date() - timedelta(days=1)


def find_report(config_file: Path, pipeline: str, day: date | None) -> tuple[str, Path]:
    """A complete day in words, and the path of its page."""
    from tasks.report.markdown import render_markdown

    workspace = prepared(config_file, pipeline)
    days = list(newest_closed(workspace))
    if not days:
        raise ConfigError(
            f"{pipeline} has no complete day yet; start with dayspring run {pipeline}."
        )
    wanted = day or days[-1]
    if wanted not in days:
        raise ConfigError(
            f"{pipeline} has no complete day {wanted}; there are {days[0]} to {days[-1]}. "
            f"Run it: dayspring run {pipeline} --day {wanted}."
        )
    (record,) = closed_records(workspace, [wanted])
    return render_markdown(record), report_path(workspace, wanted)


def check(config_file: Path) -> list[str]:
    """Validate the file, and what only the libraries can judge; a line for each pipeline."""
    config = load_config(config_file)
    _refuse_faults(config.pipelines, config.notify)
    return [
        f"{name}: valid; {pipeline.source.format} from {pipeline.source.interactions}"
        for name, pipeline in config.pipelines.items()
    ]


def _refuse_faults(pipelines: Mapping[str, Pipeline], notices: Sequence[Notice] = ()) -> None:
    """What pydantic cannot see: locations, columns, expectations by name, thresholds, addresses.

    Raises:
        ConfigError: all faults of all the pipelines, before a day is touched.
    """
    from tasks.drift.thresholds import check_thresholds
    from tasks.interactions.source import check_source
    from tasks.notices.send import check_address
    from tasks.quality.expectations import check_expectations
    from tasks.validate import custom_expectations

    faults: list[str] = []
    for place, notice in enumerate(notices):
        try:
            if notice.to:
                check_address(notice.to)
        except ConfigError as error:
            faults.append(f"notify.{place}.to: {error}")
    for name, pipeline in pipelines.items():
        looks = (
            partial(check_source, source_of(pipeline.source)),
            partial(check_expectations, custom_expectations(pipeline)),
            partial(check_thresholds, pipeline.drift.thresholds),
        )
        for look in looks:
            try:
                look()
            except ConfigError as error:
                faults += [f"pipelines.{name}.{line}" for line in str(error).splitlines()]
    if faults:
        advice = f"Nothing was started. {LOOK_AGAIN}"
        raise ConfigError("\n".join([*faults, advice]))


def predict_rows(
    config_file: Path,
    pipeline: str,
    source: Path,
    output: Path | None,
    *,
    task: "Task" = "rank",
    threshold: float | None = None,
) -> "Answered":
    """Rank or filter a file of candidates; returns how many, and by which model."""
    from tasks.predict import predict_file

    workspace = prepared(config_file, pipeline)
    return predict_file(workspace, source, output, task=task, threshold=threshold)


def simulate_portal(
    config_file: Path,
    first: date,
    days: int,
    *,
    out: Path | None,
    seed: int,
    rows: int,
    shifts: list[str],
    truth: Path | None,
) -> str:
    """Write the portal's logs, by default where the portal pipeline reads them; says what it wrote."""
    from tasks.simulator.settings import SimulatorSettings, parse_shift
    from tasks.simulator.simulate import simulate

    folder = out or _portal_logs(config_file)
    settings = SimulatorSettings(
        seed=seed,
        impressions_per_day=max(1, rows // SimulatorSettings.slate_size),
        shifts=tuple(parse_shift(shift) for shift in shifts),
    )
    late = [shift for shift in settings.shifts if shift.day > days]
    if late:
        raise ConfigError(
            f"Shift {late[0].kind} begins on day {late[0].day}, after the last of {days} days. "
            f"Give it a day of 1 to {days}, or raise --days."
        )
    summary = simulate(settings, out=folder, first_day=first, days=days, truth=truth)
    return f"{summary.lines:,} rows of {days} days written to {folder}"


def _portal_logs(config_file: Path) -> Path:
    """The folder that the portal pipeline reads, so that it is named in one place."""
    location = open_workspace(config_file, "portal").config.source.interactions
    folder, found, _ = location.partition("/interactions/")
    if not found:
        raise ConfigError(
            f"pipelines.portal.source.interactions is {location}, which has no /interactions/ folder "
            "to write to; say where with --out."
        )
    return Path(folder)
