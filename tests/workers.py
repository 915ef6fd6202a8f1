"""Prefect workers as processes of their own, which a test may kill with all that they started."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil


class Worker:
    """A process worker of one pool."""

    def __init__(self, pool: str, name: str, api_url: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        home = folder / name
        home.mkdir()
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "prefect"),
                    *("worker", "start", "--type", "process", "--pool", pool, "--name", name),
                ],
                env={
                    **os.environ,
                    "PREFECT_API_URL": api_url,
                    "PREFECT_HOME": str(home),
                    "PREFECT_WORKER_QUERY_SECONDS": "1",
                    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
                    "OMP_NUM_THREADS": "1",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )

    def started(self, pid: int) -> bool:
        """Whether the process is this worker's, or of a run of it."""
        return pid in {process.pid for process in self._tree()}

    def kill(self) -> None:
        """SIGKILL it and every process of its runs at once, as a machine that is switched off."""
        tree = self._tree()
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.suspend()  # so that none sees another die, and reports it
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _tree(self) -> list[psutil.Process]:
        try:
            worker = psutil.Process(self._process.pid)
            return [worker, *worker.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
