"""Model versions of one pipeline in MLflow: registered once, promoted once, read by alias.

Every method may be killed anywhere and repeated. A version is created last, with all its tags in
one transaction, so what MLflow lists as a version is complete; an alias moves after all tags.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tasks.errors import RegistryError
from tasks.registry import folder as folders
from tasks.registry.describe import describe, interval
from tasks.registry.evidence import strict_json
from tasks.registry.lease import Leases
from tasks.registry.lock import held
from tasks.registry.registration import (
    create_version,
    log_figures,
    log_files,
    log_ranker,
    quoted,
    resume_run,
)
from tasks.registry.store import explained, open_client, sqlite_path
from tasks.registry.version import (
    CHALLENGER,
    CHAMPION,
    DIGEST,
    EVIDENCE,
    FINGERPRINT,
    INTERVAL,
    LIVE_SINCE,
    REASON,
    VERDICT,
    ModelVersion,
    Promotion,
    from_mlflow,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
"""MLflow's codes for a model, a version or an alias that is not there."""


class Registry:
    """The registered model and experiment `dayspring.<pipeline>`.

    Nothing is opened, and MLflow is not imported, before the first call.

    Args:
        tracking_uri: `sqlite:///<file>` for the embedded registry, or an MLflow server's URL.
        artifacts: folder or URL where the pipeline's artifacts go; None leaves it to the server.
        pipeline: names the experiment and the registered model.
        leases: whose lease `registry` is the lock of a server's registry. An SQLite file needs none:
            the lock lies beside it, and the kernel drops it with its holder.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifacts: Path | str | None,
        pipeline: str,
        *,
        leases: Leases | None = None,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", pipeline):
            raise RegistryError(
                f"{pipeline!r} cannot name a registered model: use letters, digits, - and _, "
                "beginning with a letter or digit."
            )
        self.tracking_uri = tracking_uri
        self.artifacts = folders.as_uri(artifacts) if artifacts is not None else None
        self.name = f"dayspring.{pipeline}"
        self._leases = leases
        self._fetched: dict[str, TemporaryDirectory[str]] = {}

    def register(
        self,
        ranker: Path,
        *,
        fingerprint: str,
        loader_module: str,
        tags: Mapping[str, str],
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        files: Mapping[str, bytes] | None = None,
    ) -> ModelVersion:
        """The version of `fingerprint`, made from the folder `ranker` if there is none yet.

        A run that was killed half-way is resumed under its own run id. The version becomes
        `challenger` unless that alias or `champion` stands on it or on a newer one.

        Args:
            ranker: folder of adapter, head and config; copied, never pickled.
            fingerprint: names what the model was made from: data versions, days, settings, code.
            loader_module: module whose `_load_pyfunc(folder)` loads `ranker` in a fresh process.
            tags: see the tag names in version.py; written with the version in one transaction.
            files: further artifacts of the run by relative name, such as plots/roc.png.

        Raises:
            RegistryError: `ranker` is empty, or makes a version of 3 MB or more.
        """
        if not fingerprint:
            raise RegistryError(
                "The fingerprint is empty: it has to name what the model was made from."
            )
        with self._changing(f"Registering {ranker}"):
            version = self._find(fingerprint)
            if version is None:
                run = resume_run(self._client, self.name, self.artifacts, fingerprint)
                run_id = run.info.run_id
                model = log_ranker(self._client, run, ranker, loader_module)
                log_figures(self._client, run, params, metrics)
                log_files(self._client, run_id, files or {})
                self._client.set_terminated(run_id)
                complete = dict(tags) | {FINGERPRINT: fingerprint}
                created = create_version(self._client, self.name, run_id, model, complete)
                version = from_mlflow(created)
            self._nominate(version)
            return version

    def champion(self) -> ModelVersion | None:
        """The live version; None before the first promotion."""
        return self._by_alias(CHAMPION)

    def challenger(self) -> ModelVersion | None:
        """The newest version that is not live; None before there is one and after its promotion."""
        return self._by_alias(CHALLENGER)

    def version(self, version: str) -> ModelVersion:
        """The version of that number.

        Raises:
            RegistryError: there is none, or it was not registered by Dayspring.
        """
        client = self._client
        from mlflow.exceptions import MlflowException

        with self._reading(f"Reading version {version} of {self.name}"):
            try:
                return from_mlflow(client.get_model_version(self.name, version))
            except MlflowException as error:
                if error.error_code not in ABSENT:
                    raise
                raise RegistryError(
                    f"{self.name} has no version {version!r}. A version is a number such as '3'; "
                    "MLflow's page of the model lists them."
                ) from error

    def download(self, version: str) -> Path:
        """A local folder with the version's ranker, as it was registered.

        Files that are local already are not copied; others lie in a temporary folder as long as
        this object lives. The bytes are compared with the checksum taken at registration.

        Raises:
            RegistryError: files are missing or were altered.
        """
        found = self.version(version)
        local = folders.local_path(found.source) or self._fetch(found)
        return folders.intact(local, found.tags[DIGEST], found.uri)

    def attach(
        self,
        version: str,
        *,
        files: Mapping[str, bytes] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Add what became known after registration: the contest's metrics, plots, a report.

        A repeat replaces files of the same name and logs only metrics whose value is another.
        """
        with self._changing(f"Attaching results to version {version} of {self.name}"):
            run = self._client.get_run(self.version(version).run_id)
            log_figures(self._client, run, {}, metrics or {})
            log_files(self._client, run.info.run_id, files or {})

    def promote(
        self,
        challenger: str,
        *,
        compared_with: str | None,
        reason: str,
        evidence: Mapping[str, object],
    ) -> Promotion:
        """Make `challenger` the champion if the champion is still the version it was compared with.

        The champion is read again inside the lock, and the alias moves there. A repeat of a
        promotion that went through succeeds and changes nothing.

        Args:
            challenger: number of the version that won.
            compared_with: number of the champion it beat; None if that was the zero-shot model.
            reason: one sentence for the operator.
            evidence: the contest's figures, in JSON types; its scalars are shown for review.
        """
        with self._changing(f"Promoting version {challenger} of {self.name}") as still_ours:
            candidate = self.version(challenger)
            live = self.champion()
            if live is not None and live.version == candidate.version:
                self._withdraw(candidate)
                return Promotion(True, f"Version {challenger} is the champion.", live.live_since)
            if (live.version if live else None) != compared_with:
                lost = _overtaken(challenger, compared_with, live)
                self._judge(candidate, {VERDICT: "keep", REASON: lost}, evidence)
                return Promotion(False, lost, None)
            since = datetime.now(UTC)
            verdict = {VERDICT: "promote", REASON: reason, LIVE_SINCE: since.isoformat()}
            self._judge(candidate, verdict, evidence)
            still_ours()
            self._client.set_registered_model_alias(self.name, CHAMPION, candidate.version)
            self._withdraw(candidate)
            return Promotion(True, reason, since)

    def keep(
        self, challenger: str, *, verdict: str, reason: str, evidence: Mapping[str, object]
    ) -> None:
        """Record on `challenger` why the champion stays; no alias moves.

        Args:
            challenger: number of the version that did not win.
            verdict: "keep" or "not enough evidence".
            reason: one sentence for the operator.
            evidence: the contest's figures, in JSON types.
        """
        with self._changing(f"Judging version {challenger} of {self.name}"):
            self._judge(self.version(challenger), {VERDICT: verdict, REASON: reason}, evidence)

    @cached_property
    def _client(self) -> "MlflowClient":
        return open_client(self.tracking_uri)

    @contextmanager
    def _reading(self, action: str) -> Iterator[None]:
        with explained(action, self.tracking_uri):
            yield

    @contextmanager
    def _changing(self, action: str) -> Iterator[Callable[[], None]]:
        """Hold the pipeline's lock: registrations and promotions happen one after another.

        Yields what to call right before an alias moves: it raises if the lock was lost.
        """
        database = sqlite_path(self.tracking_uri)
        if database is not None:
            with self._reading(action), held(database.parent / f"{self.name}.lock"):
                yield lambda: None
            return
        if self._leases is None:
            raise RegistryError(
                f"{self.tracking_uri} has no file to lock beside it. Name the leases (`leases`) that "
                "everyone who promotes shares."
            )
        with self._reading(action), self._leases.held("registry") as lease:
            yield lease.check

    def _by_alias(self, alias: str) -> ModelVersion | None:
        database = sqlite_path(self.tracking_uri)
        if database is not None and not database.exists():
            return None  # a question creates no database
        client = self._client  # opened first: it makes MLflow quiet before the import
        from mlflow.exceptions import MlflowException

        with self._reading(f"Reading the alias {alias} of {self.name}"):
            try:
                return from_mlflow(client.get_model_version_by_alias(self.name, alias))
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return None
                raise

    def _find(self, fingerprint: str) -> ModelVersion | None:
        found = self._client.search_model_versions(
            f"name = '{self.name}' AND tags.{FINGERPRINT} = '{quoted(fingerprint)}'"
        )
        return from_mlflow(found[0]) if found else None

    def _nominate(self, version: ModelVersion) -> None:
        current, live = self.challenger(), self.champion()
        newer = current is not None and int(current.version) >= int(version.version)
        was_live = live is not None and int(live.version) >= int(version.version)
        if not newer and not was_live:
            self._client.set_registered_model_alias(self.name, CHALLENGER, version.version)

    def _withdraw(self, version: ModelVersion) -> None:
        """A champion is no challenger; done after its promotion, and again by a repeat."""
        current = self.challenger()
        if current is not None and current.version == version.version:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def _judge(
        self, version: ModelVersion, verdict: dict[str, str], evidence: Mapping[str, object]
    ) -> None:
        strict_json(evidence)
        figures = {k: v for k, v in evidence.items() if isinstance(v, bool | int | float | str)}
        written = verdict | {EVIDENCE: strict_json(figures)}
        gain = interval(figures)
        if gain is not None:
            written[INTERVAL] = gain
        tags = {k: v for k, v in version.tags.items() if k != LIVE_SINCE} | written
        if LIVE_SINCE in version.tags and LIVE_SINCE not in verdict:
            self._client.delete_model_version_tag(self.name, version.version, LIVE_SINCE)
        for key, value in written.items():
            self._client.set_model_version_tag(self.name, version.version, key, value)
        page = describe(self.name, tags, figures)
        self._client.update_model_version(self.name, version.version, description=page)

    def _fetch(self, version: ModelVersion) -> Path:
        from mlflow.artifacts import download_artifacts

        into = self._fetched.setdefault(version.version, TemporaryDirectory(prefix="dayspring-"))
        with self._reading(f"Downloading {version.uri}"):
            fetched = download_artifacts(
                artifact_uri=version.source, dst_path=into.name, tracking_uri=self.tracking_uri
            )
        return Path(fetched)


def _overtaken(challenger: str, compared_with: str | None, live: ModelVersion | None) -> str:
    rival = f"version {compared_with}" if compared_with else "the zero-shot model"
    if live is None:
        return f"Version {challenger} was compared with {rival}, but no version is live any more."
    when = f" since {live.live_since.isoformat(timespec='seconds')}" if live.live_since else ""
    return (
        f"Version {challenger} was compared with {rival}, "
        f"but version {live.version} won meanwhile and is live{when}."
    )
