"""What the tests of faults share: a Prefect server's address, and what an undisturbed run leaves."""

from pathlib import Path

import pytest
from backfills import run
from portal import DAYS, write_config

from tasks.workspace import Workspace, open_workspace


@pytest.fixture(scope="session")
def server(prefect_server: None) -> dict[str, str]:
    """The server's address, for a run's environment."""
    from prefect.settings import PREFECT_API_URL

    return {"PREFECT_API_URL": str(PREFECT_API_URL.value())}


@pytest.fixture(scope="session")
def smooth(
    tmp_path_factory: pytest.TempPathFactory, portal_logs: Path, server: dict[str, str]
) -> Workspace:
    """The portal's days as an undisturbed backfill leaves them; tests do not write to it."""
    config = write_config(tmp_path_factory.mktemp("undisturbed"), portal_logs)
    done = run("never", config, DAYS, server)
    assert done.returncode == 0, done.stderr
    return open_workspace(config, "portal")
