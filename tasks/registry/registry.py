"""Model versions of one pipeline in MLflow: registered once, promoted once, read by alias.

Every method may be killed anywhere and repeated. A version is created last, with all its tags in
one transaction, so what MLflow lists as a version is complete; an alias moves after all tags.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
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
from tasks.registry.pointer import ABSENT, Listed, Pointer, pointer
from tasks.registry.registration import (
    create_version,
    log_figures,
    log_files,
    log_ranker,
    quoted,
    resume_run,
)
from tasks.registry.removal import Leftover, leftovers_of, remove_run, versions_of
from tasks.registry.store import explained, has_content, open_client, sqlite_path
from tasks.registry.version import (
    APPROVED,
    CHALLENGER,
    CHAMPION,
    COMPARED_WITH,
    DIGEST,
    EVIDENCE,
    FINGERPRINT,
    FORCED,
    INTERVAL,
    LAST_MOVE,
    LIVE_SINCE,
    REASON,
    REJECTED,
    RESTORED,
    REVIEW,
    REVIEW_BY,
    REVIEW_REASON,
    ROLLED_BACK,
    VERDICT,
    WAITING,
    ZERO_SHOT,
    ModelVersion,
    Move,
    Promotion,
    Review,
    from_mlflow,
    moment_after,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
        max_bytes: int | None = folders.MAX_BYTES,
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
            max_bytes: that the version has to stay under; None where whole layers were trained.

        Raises:
            RegistryError: `ranker` is empty, or makes a version of `max_bytes` or more.
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
                model = log_ranker(self._client, run, ranker, loader_module, max_bytes)
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

    def has(self, version: str) -> bool:
        """Whether there is a version of that number, by whomever it was registered."""
        if not self._exists():
            return False
        client = self._client
        from mlflow.exceptions import MlflowException

        with self._reading(f"Reading version {version} of {self.name}"):
            try:
                client.get_model_version(self.name, version)
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return False
                raise
        return True

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
        promotion that went through succeeds and changes nothing. A version that a person rejected
        or rolled back stays where that person put it.

        Args:
            challenger: number of the version that won.
            compared_with: number of the champion it beat; None if that was the zero-shot model.
            reason: one sentence for the operator.
            evidence: the contest's figures, in JSON types; its scalars are shown for review.
        """
        with self._changing(f"Promoting version {challenger} of {self.name}") as still_ours:
            candidate = self.version(challenger)
            if (standing := self._standing(candidate, compared_with, evidence)) is not None:
                return standing
            told = {VERDICT: "promote", REASON: reason, COMPARED_WITH: compared_with or ZERO_SHOT}
            move = ("promoted", "dayspring", reason)
            return self._crown(candidate, told, evidence, still_ours, move)

    def wait(
        self,
        challenger: str,
        *,
        compared_with: str | None,
        reason: str,
        evidence: Mapping[str, object],
    ) -> Promotion:
        """Let `challenger`, which won, wait for a person's `approve` or `reject`; no alias moves.

        Takes and checks what `promote` does. A repeat, also after the decision, changes nothing.
        """
        with self._changing(f"Judging version {challenger} of {self.name}"):
            candidate = self.version(challenger)
            if (standing := self._standing(candidate, compared_with, evidence)) is not None:
                return standing
            told = {
                VERDICT: "waiting for approval",
                REASON: reason,
                COMPARED_WITH: compared_with or ZERO_SHOT,
                REVIEW: WAITING,
            }
            self._judge(candidate, told, evidence)
            return Promotion(False, reason, None, waiting=True)

    def approve(self, version: str, review: Review) -> Promotion:
        """Make the waiting `version` champion if the champion is still the one it was compared with.

        A repeat of an approval that went through succeeds and changes nothing. Where the champion is
        another one meanwhile, the version goes on waiting, and the reason says what to do.

        Raises:
            RegistryError: the version does not wait for a review.
        """
        with self._changing(f"Approving version {version} of {self.name}") as still_ours:
            candidate, live = self.version(version), self.champion()
            if live is not None and live.version == version:
                self._withdraw(candidate)
                return Promotion(True, _decided(candidate), live.live_since)
            if candidate.tags.get(REVIEW) != WAITING:
                raise RegistryError(_not_waiting(candidate, "approved"))
            rival = candidate.tags[COMPARED_WITH]
            if (live.version if live else ZERO_SHOT) != rival:
                compared_with = None if rival == ZERO_SHOT else rival
                return Promotion(False, _overtaken(version, compared_with, live), None)
            told = {VERDICT: "promote", **review.tags(APPROVED)}
            move = ("approved", review.by, review.reason)
            return self._crown(candidate, told, {}, still_ours, move)

    def force(self, version: str, *, expected: str | None, review: Review) -> Promotion:
        """Make `version` champion whatever the gate said of it; the gate's words stay on it.

        A repeat, and a version that is live already, change nothing.

        Args:
            expected: the champion that is to be replaced, as the person saw it; None is the
                zero-shot model.

        Raises:
            RegistryError: the champion is another one meanwhile, or the version cannot be loaded.
        """
        self.download(version)
        with self._changing(f"Promoting version {version} of {self.name}") as still_ours:
            candidate, live = self.version(version), self.champion()
            if live is not None and live.version == version:
                self._withdraw(candidate)
                return Promotion(True, _decided(candidate), live.live_since)
            found = live.version if live else None
            if found != expected:
                raise RegistryError(_not_expected(found, expected, "replaced"))
            move = ("forced", review.by, review.reason)
            return self._crown(candidate, review.tags(FORCED), {}, still_ours, move)

    def reject(self, version: str, review: Review) -> bool:
        """End the waiting of `version` without promoting it; False if it was rejected before.

        Raises:
            RegistryError: the version does not wait for a review.
        """
        with self._changing(f"Rejecting version {version} of {self.name}"):
            candidate = self.version(version)
            if candidate.tags.get(REVIEW) == REJECTED:
                return False
            if candidate.tags.get(REVIEW) != WAITING:
                raise RegistryError(_not_waiting(candidate, "rejected"))
            self._judge(candidate, {VERDICT: "reject", **review.tags(REJECTED)}, {})
            return True

    def roll_back(self, to: str | None, *, expected: str | None, review: Review) -> Move:
        """Let the alias stand on `to` again, in milliseconds and without importing MLflow.

        The pages of the versions are written by `describe_again`, which takes longer.

        Args:
            to: number of the version to restore; None is the zero-shot model: the alias goes.
            expected: the champion that is to be taken out of service.

        Raises:
            RegistryError: the champion is another one meanwhile, or `to` cannot be loaded.
        """
        with (
            self._changing(f"Rolling {self.name} back") as still_ours,
            pointer(self.tracking_uri, self.name) as alias,
        ):
            live, last = alias.champion(), alias.last_move()
            if live != expected:
                raise RegistryError(_not_expected(live, expected, "rolled back"))
            tags = self._story_of_rollback(alias, to, live, review)
            before = alias.tags(live) if live else None
            since = _time_of(before, LIVE_SINCE)
            at = moment_after(review.at, last.at if last else None, since)
            if to is not None:
                tags[to][LIVE_SINCE] = at.isoformat()
            move = Move("rolled_back", to, at, review.by, review.reason)
            still_ours()
            alias.move(move, tags)
            return move

    def standing(self) -> tuple[str | None, Move | None]:
        """The version that is live, and Dayspring's last move of the alias; fast."""
        if not self._exists():
            return None, None  # a question creates no database
        with (
            self._reading(f"Reading the alias {CHAMPION} of {self.name}"),
            pointer(self.tracking_uri, self.name) as alias,
        ):
            return alias.champion(), alias.last_move()

    def listed(self) -> list[Listed]:
        """All versions with their tags, oldest first; fast."""
        if not self._exists():
            return []
        with (
            self._reading(f"Listing the versions of {self.name}"),
            pointer(self.tracking_uri, self.name) as alias,
        ):
            return alias.versions()

    def describe_again(self, *versions: str) -> None:
        """Write the pages of `versions` anew from their tags."""
        with self._reading(f"Describing versions of {self.name}"):
            for version in versions:
                found = self.version(version)
                page = describe(self.name, found.tags, json.loads(found.tags.get(EVIDENCE, "{}")))
                self._client.update_model_version(self.name, version, description=page)

    def keep(
        self, challenger: str, *, verdict: str, reason: str, evidence: Mapping[str, object]
    ) -> None:
        """Record on `challenger` why the champion stays; no alias moves.

        A version that a person put live meanwhile keeps what was told of that.

        Args:
            challenger: number of the version that did not win.
            verdict: "reject" or "not enough evidence".
            reason: one sentence for the operator.
            evidence: the contest's figures, in JSON types.
        """
        with self._changing(f"Judging version {challenger} of {self.name}"):
            live = self.champion()
            if live is None or live.version != challenger:
                told = {VERDICT: verdict, REASON: reason}
                self._judge(self.version(challenger), told, evidence)

    def versions(self) -> list[ModelVersion]:
        """Every version that Dayspring registered, oldest first."""
        if not self._exists():
            return []
        with self._reading(f"Listing the versions of {self.name}"):
            return versions_of(self._client, self.name)

    def aliases(self) -> dict[str, str]:
        """Every alias, a person's own among them, and the version that it stands on."""
        if not self._exists():
            return {}
        client = self._client
        from mlflow.exceptions import MlflowException

        with self._reading(f"Reading the aliases of {self.name}"):
            try:
                aliases = client.get_registered_model(self.name).aliases
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return {}
                raise
            return {alias: str(version) for alias, version in aliases.items()}

    def remove(self, version: str) -> bool:
        """Delete a version with its run and files; False where an alias stands on it meanwhile."""
        with self._changing(f"Removing version {version} of {self.name}"):
            if version in self.aliases().values():
                return False
            run_id = self.version(version).run_id
            self._client.delete_model_version(self.name, version)
            remove_run(self._client, run_id, self.tracking_uri)
            return True

    def leftovers(self) -> list[Leftover]:
        """Runs that never became a version, oldest first; one may still be in the making."""
        if not self._exists():
            return []
        with self._reading(f"Looking for half-made versions of {self.name}"):
            return leftovers_of(self._client, self.name)

    def remove_leftover(self, run_id: str) -> bool:
        """Delete a run that never became a version; False where it has become one meanwhile."""
        with self._changing(f"Removing the run {run_id} of {self.name}"):
            if run_id not in {left.run_id for left in leftovers_of(self._client, self.name)}:
                return False
            remove_run(self._client, run_id, self.tracking_uri)
            return True

    def _exists(self) -> bool:
        """Whether there is a registry to ask: a question creates no database."""
        database = sqlite_path(self.tracking_uri)
        return database is None or has_content(database)

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
        if not self._exists():
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

    def _standing(
        self, candidate: ModelVersion, compared_with: str | None, evidence: Mapping[str, object]
    ) -> Promotion | None:
        """Why nothing is to be done or can be done for a winner; None while it is to be crowned."""
        live = self.champion()
        if live is not None and live.version == candidate.version:
            self._withdraw(candidate)
            words = f"Version {candidate.version} is the champion."
            return Promotion(True, words, live.live_since)
        if candidate.tags.get(REVIEW) in {REJECTED, ROLLED_BACK}:
            return Promotion(False, _decided(candidate), None)
        if (live.version if live else None) != compared_with:
            lost = _overtaken(candidate.version, compared_with, live)
            self._judge(candidate, {VERDICT: "not enough evidence", REASON: lost}, evidence)
            return Promotion(False, lost, None)
        return None

    def _crown(
        self,
        candidate: ModelVersion,
        told: dict[str, str],
        evidence: Mapping[str, object],
        still_ours: Callable[[], None],
        moved: tuple[str, str, str],
    ) -> Promotion:
        """Write the story, then move the alias; the caller holds the lock and has compared.

        Args:
            moved: the move's event, who made it, and why.
        """
        live, (event, by, reason) = self.champion(), moved
        last = self._last_move()
        since = moment_after(last.at if last else None, live.live_since if live else None)
        self._judge(candidate, told | {LIVE_SINCE: since.isoformat()}, evidence)
        move = Move(event, candidate.version, since, by, reason)
        self._client.set_registered_model_tag(self.name, LAST_MOVE, move.to_json())
        still_ours()
        self._client.set_registered_model_alias(self.name, CHAMPION, candidate.version)
        self._withdraw(candidate)
        return Promotion(True, reason, since)

    def _last_move(self) -> Move | None:
        written = self._client.get_registered_model(self.name).tags.get(LAST_MOVE)
        return Move.from_json(written) if written else None

    def _story_of_rollback(
        self, alias: Pointer, to: str | None, live: str | None, review: Review
    ) -> dict[str, dict[str, str]]:
        """The tags of both versions, after a look whether `to` is one of ours."""
        tags = {live: review.tags(ROLLED_BACK)} if live else {}
        if to is not None:
            found = alias.tags(to)
            if found is None or FINGERPRINT not in found or DIGEST not in found:
                raise RegistryError(
                    f"{self.name} has no version {to!r} that Dayspring registered. "
                    "`dayspring review PIPELINE --all` lists them."
                )
            tags[to] = review.tags(RESTORED)
        return tags

    def _judge(
        self, version: ModelVersion, verdict: dict[str, str], evidence: Mapping[str, object]
    ) -> None:
        """Write `verdict` and its figures on the version; without figures the earlier ones stay."""
        strict_json(evidence)
        figures = {k: v for k, v in evidence.items() if isinstance(v, bool | int | float | str)}
        written = dict(verdict)
        if figures or EVIDENCE not in version.tags:
            written[EVIDENCE] = strict_json(figures)
        gain = interval(figures)
        if gain is not None:
            written[INTERVAL] = gain
        tags = {k: v for k, v in version.tags.items() if k != LIVE_SINCE} | written
        if LIVE_SINCE in version.tags and LIVE_SINCE not in verdict:
            self._client.delete_model_version_tag(self.name, version.version, LIVE_SINCE)
        for key, value in written.items():
            self._client.set_model_version_tag(self.name, version.version, key, value)
        page = describe(self.name, tags, figures or json.loads(tags[EVIDENCE]))
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


def _called(version: str | None) -> str:
    return f"Version {version}" if version else "The zero-shot model"


def _not_expected(live: str | None, expected: str | None, what: str) -> str:
    return (
        f"{_called(live)} is live, and not {_called(expected)}, which was to be {what}: somebody else "
        "was faster. Nothing was changed; look again with `dayspring review`."
    )


def _decided(version: ModelVersion) -> str:
    by, why = version.tags.get(REVIEW_BY), version.tags.get(REVIEW_REASON)
    if by is None:
        return f"Version {version.version} is the champion."
    return f"Version {version.version} was {version.tags[REVIEW]} by {by}: {why}"


def _not_waiting(version: ModelVersion, asked: str) -> str:
    state = version.tags.get(REVIEW, "not reviewed")
    known = _decided(version) if REVIEW_BY in version.tags else f"Its review is: {state}."
    return (
        f"Version {version.version} cannot be {asked}, for it does not wait for a review. {known} "
        "`dayspring review` lists what waits; to change what is live, use `dayspring rollback`."
    )


def _time_of(tags: Mapping[str, str] | None, name: str) -> datetime | None:
    return datetime.fromisoformat(tags[name]) if tags and name in tags else None
