"""This machine: Python, packages, disk, and variables that contradict each other.

Values of variables are never shown: some of them are secrets.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tasks.health.finding import Finding

KNOWN_BAD = (
    (
        Requirement("prefect<3.9"),
        Requirement("fastapi>=0.151"),
        "prefect's server does not start on it (Body() got an unexpected keyword argument)",
    ),
)
"""Two packages that do not work together within the ranges that each allows, and what happens."""

LEAST_FREE_BYTES = 1 << 30
LEAST_FREE_DAYS = 14


def check_python(distribution: str = "dayspring") -> list[Finding]:
    """Whether this Python is one that the distribution runs on."""
    running = ".".join(map(str, sys.version_info[:3]))
    allowed = SpecifierSet(metadata(distribution)["Requires-Python"] or "")
    if running in allowed:
        return []
    words = f"Python {running} runs, and {distribution} needs {allowed}."
    return [Finding("python", "error", words, "make install with a Python of that range")]


def check_packages(
    distribution: str = "dayspring", installed: Mapping[str, str] | None = None
) -> list[Finding]:
    """Installed packages against the ranges that the distribution declares, and known bad pairs.

    Args:
        installed: versions by name, for packages that shall not be looked up.
    """
    known = installed or {}
    findings = []
    for requirement in map(Requirement, requires(distribution) or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = known.get(requirement.name) or _installed(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            has = f"{requirement.name} {found}" if found else f"no {requirement.name}"
            words = f"{has} is installed, and {distribution} needs {requirement.specifier or 'it'}."
            findings.append(Finding("packages", "error", words, _install(requirement)))
    for one, other, what in KNOWN_BAD:
        pair = [(each, known.get(each.name) or _installed(each.name)) for each in (one, other)]
        if all(found and each.specifier.contains(found) for each, found in pair):
            names = " with ".join(f"{each.name} {found}" for each, found in pair)
            words = f"{names} is installed: {what}."
            findings.append(
                Finding("packages", "error", words, f"pip install '{other.name}<0.151'")
            )
    return findings


def check_lock(lock: Path) -> list[Finding]:
    """Installed packages against the versions that were tested together, where the file is there."""
    if not lock.is_file():
        return []
    pinned = [line.split("==") for line in lock.read_text().splitlines() if "==" in line]
    others = [
        f"{name} {found} (locked: {locked})"
        for name, locked in ((name.strip(), locked.split()[0]) for name, locked in pinned)
        if (found := _installed(name)) is not None and found.partition("+")[0] != locked
    ]
    if not others:
        return []
    more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
    words = f"{len(others):,} packages differ from the lock: {', '.join(others[:3])}{more}."
    return [Finding("packages", "note", words, f"pip install -c {lock} -e .")]


def check_home(home: Path) -> list[Finding]:
    """Whether `home` can be written."""
    try:
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"dayspring")
    except OSError as error:
        words = f"home {home} cannot be written: {error.strerror}."
        return [Finding("home", "error", words, f"chown or chmod {home}, or set DAYSPRING_HOME")]
    return []


def check_disk(folder: Path, *, bytes_per_day: float | None) -> list[Finding]:
    """Free space at `folder`, and for how many days it lasts at the present growth.

    Args:
        bytes_per_day: what a day has added of late; None where no day was complete yet.
    """
    free = shutil.disk_usage(folder).free
    days, lasts = None, ""
    if bytes_per_day:
        days = free / bytes_per_day
        lasts = f", enough for {days:,.0f} days at {bytes_per_day / 1e6:,.1f} MB a day"
    words = f"{free / 2**30:,.1f} GiB are free at {folder}{lasts}"
    if free < LEAST_FREE_BYTES:
        rule = f"; a run may need {LEAST_FREE_BYTES / 2**30:g} GiB."
        return [Finding("disk", "error", words + rule, "dayspring prune, or a larger disk")]
    if days is not None and days < LEAST_FREE_DAYS:
        rule = f"; below {LEAST_FREE_DAYS} days it is time to act."
        return [Finding("disk", "warning", words + rule, "dayspring prune, or a larger disk")]
    return [Finding("disk", "note", f"{words}.")]


def check_variables(
    environ: Mapping[str, str], *, lake: str, registry: str, pools: bool
) -> list[Finding]:
    """Variables of Prefect, MLflow and AWS that contradict each other or the config.

    Args:
        lake: `services.lake`; empty under home.
        registry: `services.registry`; empty under home.
        pools: whether a pipeline fine-tunes in a work pool.
    """
    found = [
        *_prefect_variables(environ, pools),
        *_mlflow_variables(environ, registry),
        *(_aws_variables(environ) if lake.startswith("s3://") else ()),
    ]
    return [Finding("variables", *one) for one in found]


_Told = tuple[str, str, str]


def _prefect_variables(environ: Mapping[str, str], pools: bool) -> Iterator[_Told]:
    url = environ.get("PREFECT_API_URL", "")
    if url and not url.rstrip("/").endswith("/api"):
        yield (
            "error",
            "PREFECT_API_URL does not end in /api, where Prefect's server answers.",
            "export PREFECT_API_URL=http://HOST:4200/api",
        )
    secrets = [n for n in ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING") if environ.get(n)]
    if secrets and not url:
        yield (
            "warning",
            f"{secrets[0]} is set, but no PREFECT_API_URL that it would be for.",
            f"export PREFECT_API_URL=…, or unset {secrets[0]}",
        )
    if pools and not url:
        yield (
            "error",
            "compute.pool names a work pool, but PREFECT_API_URL names no server that has one.",
            "export PREFECT_API_URL=http://HOST:4200/api, or leave compute.pool empty",
        )
    ephemeral = environ.get("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "").lower()
    if ephemeral in {"0", "false"} and not url:
        yield (
            "error",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE forbids the temporary server, and PREFECT_API_URL "
            "names no other.",
            "unset PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
        )


def _mlflow_variables(environ: Mapping[str, str], registry: str) -> Iterator[_Told]:
    uri = environ.get("MLFLOW_TRACKING_URI", "")
    if uri and uri.rstrip("/") != registry.rstrip("/"):
        where = "another server" if registry else "under home (services.registry is empty)"
        yield (
            "warning",
            f"MLFLOW_TRACKING_URI names one registry, and pipelines.yaml {where}: tools that "
            "follow the variable look elsewhere.",
            "write registry: ${MLFLOW_TRACKING_URI:-} under services, or unset MLFLOW_TRACKING_URI",
        )
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    present = [name for name in names if environ.get(name)]
    if len(present) == 1:
        yield ("error", f"{present[0]} is set without its partner.", f"export both of {names}")


def _aws_variables(environ: Mapping[str, str]) -> Iterator[_Told]:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    present = [name for name in names if environ.get(name)]
    if len(present) == 1:
        yield (
            "error",
            f"{present[0]} is set without its partner: the lake's store will refuse.",
            f"export {' and '.join(names)}",
        )
    endpoint = environ.get("AWS_ENDPOINT_URL", "")
    allowed = environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true"}
    if endpoint.startswith("http://") and not allowed:
        yield (
            "error",
            "AWS_ENDPOINT_URL is http, which deltalake refuses without AWS_ALLOW_HTTP=true.",
            "export AWS_ALLOW_HTTP=true",
        )
    regions = {environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")} - {None, ""}
    if len(regions) > 1:
        yield (
            "warning",
            "AWS_REGION and AWS_DEFAULT_REGION differ: deltalake and boto3 would use different ones.",
            "unset AWS_DEFAULT_REGION",
        )


def size_of(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(top) / name).lstat().st_size
            except FileNotFoundError:  # a run has just removed it
                continue
    return total


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _install(requirement: Requirement) -> str:
    return f"pip install '{requirement.name}{requirement.specifier}'"
