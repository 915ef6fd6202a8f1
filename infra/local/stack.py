"""A stack: all services of the grown set-up, as processes with their state in one folder.

stack = Stack(folder).up()
subprocess.run([...], env={**os.environ, **stack.env()})
stack.kill("s3")      # SIGKILL, every process of it
stack.up()            # what is dead comes back on its old port; what runs is kept
stack.down()
"""

import fcntl
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from shlex import quote

from infra.local import processes
from infra.local.errors import StackError
from infra.local.processes import Recorded
from infra.local.services import Service, all_services, client_environment
from infra.local.state import State, load_or_create, write_secret

START_SECONDS = 180
"""A start is given up after this long; servers that migrate a database on busy cores take a minute."""

STOP_SECONDS = 15
"""After this long a service that was asked to end is killed."""


class Stack:
    """The services whose state is in `folder`, wherever they were started from."""

    def __init__(self, folder: Path, *, default_ports: bool = False) -> None:
        self.folder = folder.resolve()
        self._default_ports = default_ports

    def up(self, services: Collection[str] | None = None) -> "Stack":
        """Start `services` (all by default) and what they need; return when each is ready.

        What runs is kept, what died is started again on its old port.

        Raises:
            StackError: a service did not start; the message names its log.
        """
        wanted = self._with_needs(services if services is not None else self.services)
        with self._alone(), ThreadPoolExecutor(len(self.services)) as pool:
            started: dict[str, Future[None]] = {}
            for name in wanted:
                waits = [started[need] for need in self.services[name].needs]
                started[name] = pool.submit(self._start_after, waits, self.services[name])
        _raise_first(started.values())
        write_secret(self.environment_file, self._exports())
        return self

    def down(self) -> None:
        """End every service and every child of one, also those that a crash left behind."""
        if not self.exists():
            return
        # Workers before the servers that they report to, those before their stores.
        left = list(self.services)
        with ThreadPoolExecutor(len(left)) as pool:
            while left:
                needed = {need for name in left for need in self.services[name].needs}
                list(pool.map(self.stop, set(left) - needed))
                left = [name for name in left if name in needed]

    def erase(self) -> None:
        """End everything and delete the folder: tables, objects, logs and credentials."""
        if not self.exists():
            return
        self.down()
        database = Path(self.state.database_folder)
        if database.parent != self.folder:
            shutil.rmtree(database.parent, ignore_errors=True)  # it may never have been made
        shutil.rmtree(self.folder)

    def stop(self, service: str) -> None:
        """Ask one service to end, and kill what is left of it after a while."""
        found = self._named(service)
        recorded = self.recorded(service)
        processes.end(recorded, self._mark(found), found.command(), patience_seconds=STOP_SECONDS)
        self._record(found).unlink(missing_ok=True)

    def kill(self, service: str) -> None:
        """SIGKILL every process of one service, as a crash would."""
        found = self._named(service)
        processes.kill(self._mark(found), found.command())

    def restart(self, service: str) -> None:
        """Stop one service and start it again."""
        self.stop(service)
        self.up([service])

    def env(self) -> dict[str, str]:
        """What a process needs to use the stack: addresses and credentials."""
        return client_environment(self.state)

    def exists(self) -> bool:
        """Whether the folder holds a stack, running or not."""
        return (self.folder / "stack.json").exists()

    def running(self) -> dict[str, int]:
        """Process ids of the services that run, by name."""
        found = {name: self.recorded(name) for name in self.services}
        return {name: one.pid for name, one in found.items() if one and one.process()}

    def recorded(self, service: str) -> Recorded | None:
        """The first process of a service as it was started; None if it never was."""
        return processes.read_record(self._record(self._named(service)))

    def log(self, service: str) -> Path:
        """Where a service's lines go."""
        return self.folder / "logs" / f"{service}.log"

    @property
    def environment_file(self) -> Path:
        """`env()` as lines that a shell can source."""
        return self.folder / "env"

    @cached_property
    def state(self) -> State:
        """Ports and credentials, chosen on the first look."""
        for name in ("logs", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        return load_or_create(self.folder, default_ports=self._default_ports)

    @cached_property
    def services(self) -> dict[str, Service]:
        """Every service by name, each after what it needs."""
        return all_services(self.folder, self.state)

    def _with_needs(self, names: Collection[str]) -> list[str]:
        """`names` and all that they need, in an order in which they can start."""
        wanted = {name for chosen in names for name in self._closure(chosen)}
        return [name for name in self.services if name in wanted]

    def _closure(self, name: str) -> Iterator[str]:
        yield name
        for need in self._named(name).needs:
            yield from self._closure(need)

    def _named(self, name: str) -> Service:
        if name not in self.services:
            raise StackError(f"{name} is no service; there are {', '.join(self.services)}.")
        return self.services[name]

    def _start_after(self, waits: Sequence[Future[None]], service: Service) -> None:
        for wait in waits:
            wait.result()
        recorded = self.recorded(service.name)
        if recorded is None or recorded.process() is None:
            recorded = self._start(service)
        self._wait_until_ready(service, recorded)

    def _start(self, service: Service) -> Recorded:
        service.prepare()
        command = service.command()
        # Children of a crashed one may still hold its port.
        processes.kill(self._mark(service), command)
        return processes.start(
            command, self._mark(service), log=self.log(service.name), record=self._record(service)
        )

    def _wait_until_ready(self, service: Service, recorded: Recorded) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not service.ready(recorded):
            if recorded.process() is None:
                raise StackError(
                    f"{service.name} ended while it started. {self._last_words(service)}"
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"{service.name} was not ready within {START_SECONDS} s. {self._last_words(service)}"
                )
            time.sleep(0.1)

    def _last_words(self, service: Service) -> str:
        log = self.log(service.name)
        lines = log.read_text(errors="replace").strip().splitlines()
        return f"Its log {log} ends:\n" + "\n".join(lines[-5:])

    def _mark(self, service: Service) -> str:
        return f"{self.state.name}/{service.name}"

    def _record(self, service: Service) -> Path:
        return self.folder / "run" / f"{service.name}.json"

    def _exports(self) -> str:
        return "".join(f"export {name}={quote(value)}\n" for name, value in self.env().items())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One command at a time on a stack: two would start everything twice."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _raise_first(futures: Collection[Future[None]]) -> None:
    """Raise the first service's failure; what needed it failed for the same reason."""
    for future in futures:
        future.result()
