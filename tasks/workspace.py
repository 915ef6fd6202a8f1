"""One pipeline's config and the places its state lives in: what every stage is handed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import Notice, Pipeline, Services
from tasks.config_file import load_config, load_pipeline
from tasks.errors import ConfigError

if TYPE_CHECKING:
    from tasks.interactions.lake import Lake
    from tasks.registry.journal import Journal
    from tasks.registry.lease import Lease, Leases
    from tasks.registry.registry import Registry


EMBEDDED = Services()
"""Everything under home."""

TRAINING = "finetune"
"""The lease of whoever fine-tunes a challenger."""


@dataclass(frozen=True)
class Replay:
    """A counterfactual history: another policy over the days that a pipeline has stored."""

    pipeline: str
    name: str

    @property
    def full_name(self) -> str:
        """What its registered model, its pages and its runs are called by."""
        return f"{self.pipeline}-replay-{self.name}"


@dataclass(frozen=True)
class Workspace:
    """A pipeline by name, its config, and where its state lives: under `home`, or on services.

    Stages pass this and versions to each other, never a frame or a model.
    """

    name: str
    config: Pipeline
    home: Path
    services: Services = EMBEDDED
    notices: tuple[Notice, ...] = ()
    replay: Replay | None = None
    """Set where this is no pipeline but a replay of one: it reads that one's days, and writes beside."""

    @cached_property
    def lake(self) -> "Lake":
        """The pipeline's Delta tables."""
        from tasks.interactions.lake import Lake
        from tasks.interactions.replay import ReplayLake

        root = (self.services.lake or str(self.home / "lake")).rstrip("/")
        if self.replay is None:
            return Lake(f"{root}/{self.name}")
        stored = f"{root}/{self.replay.pipeline}"
        return ReplayLake(f"{stored}/replays/{self.replay.name}", stored)

    @cached_property
    def journal(self) -> "Journal":
        """What happened to the pipeline, and when."""
        from tasks.registry.journal import Journal

        return Journal(self.lake.root, self.name)

    @cached_property
    def registry(self) -> "Registry":
        """The pipeline's model versions in MLflow."""
        from tasks.registry.registry import Registry

        if self.services.registry:
            return Registry(self.tracking_uri, None, self.name, leases=self.leases)
        return Registry(self.tracking_uri, self.home / "mlartifacts", self.name)

    @cached_property
    def leases(self) -> "Leases":
        """Who holds the pipeline, a training or the registry at the moment."""
        from tasks.registry.lease import Leases

        return Leases(self.lake.root)

    @contextmanager
    def alone(self, wait_seconds: float = 1.0) -> Iterator[None]:
        """Hold the pipeline: two runs of it at once would only do the same work twice.

        A run may hold it again, as a backfill's days do.

        Args:
            wait_seconds: how long a run that holds it is waited for.

        Raises:
            RegistryError: another run holds it; the message names its process.
        """
        with self.leases.held("run", timeout_seconds=wait_seconds):
            yield

    @contextmanager
    def training(self) -> "Iterator[Lease]":
        """Hold the pipeline's fine-tuning; by this, who waits for a worker sees that it lives.

        One name serves all days: every holder of a lease reads the rows of all names.
        """
        wait_seconds = 60 * self.config.compute.wait_minutes
        with self.leases.held(TRAINING, timeout_seconds=wait_seconds) as lease:
            yield lease

    @property
    def tracking_uri(self) -> str:
        """The MLflow server, or MLflow's database under home."""
        return self.services.registry or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def staging(self) -> Path:
        """Rows read but not yet published."""
        return self.home / "staging" / self.name

    @property
    def embeddings(self) -> Path:
        """Item embeddings by content hash, shared by all pipelines."""
        return self.home / "embeddings"

    @property
    def scratch(self) -> Path:
        """Challengers before they are registered."""
        return self.home / "scratch" / self.name

    @property
    def sweeps(self) -> Path:
        """Hyper-parameter studies, and the blocks that won them."""
        return self.home / "sweeps"

    @property
    def reports(self) -> Path:
        """The daily pages."""
        return self.home / "reports" / self.name


def open_workspace(config_file: Path, pipeline: str) -> Workspace:
    """The workspace of `pipeline` in `config_file`; its home folder is made."""
    config = load_config(config_file)
    home = Path(config.home)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"home {home} cannot be made: {error.strerror}. Set home in {config_file}, or DAYSPRING_HOME."
        ) from None
    return Workspace(
        pipeline, load_pipeline(config, pipeline), home, config.services, config.notify
    )
