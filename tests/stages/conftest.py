"""Published days, a copy for each test, on which challengers of known strength contend."""

from pathlib import Path

import pytest
from portal import DAYS, write_config
from published import publish_days
from shadows import BAR
from versions import crown, register

from tasks.references import Published
from tasks.workspace import Workspace, open_workspace


@pytest.fixture(scope="session")
def stored(
    tmp_path_factory: pytest.TempPathFactory, portal_logs: Path, warm_home: Path
) -> tuple[Path, list[Published]]:
    """A home, to be copied, with three published days and no model."""
    folder = tmp_path_factory.mktemp("stored")
    workspace = open_workspace(write_config(folder, portal_logs, home=warm_home), "portal")
    return workspace.home, publish_days(workspace, DAYS)


@pytest.fixture
def days(stored: tuple[Path, list[Published]]) -> list[Published]:
    return stored[1]


@pytest.fixture
def contested(stored: tuple[Path, list[Published]], tmp_path: Path, portal_logs: Path) -> Workspace:
    """Version 1 is live."""
    config = write_config(tmp_path, portal_logs, home=stored[0], promote=BAR)
    workspace = open_workspace(config, "portal")
    crown(workspace, register(workspace, "champion"), over=None)
    return workspace
