"""Leases: one holder of a name at a time, on any machine, and none that outlives its holder.

A Delta table holds one row a name. Whoever takes, renews or gives back a lease commits its row with
the application transaction `lease/<name>`, and Delta refuses the second of two commits that began
at one version with one transaction: a compare-and-swap wherever Delta can be written.

No wall clock decides. A holder on this machine is gone when its process is; any other is gone when
its row has not changed for its time to live on the *observer's* own monotonic clock, as in
Kubernetes' leader election. So a clock that is wrong, or set back, ends no lease and keeps none.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.errors import RegistryError, RegistryUnavailable
from tasks.registry.rows import one_row, rows_of

if TYPE_CHECKING:
    from deltalake import DeltaTable

LEASES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("term", pa.int64(), nullable=False),
        pa.field("beat", pa.int64(), nullable=False),
        pa.field("released", pa.bool_(), nullable=False),
        pa.field("machine", pa.string(), nullable=False),
        pa.field("pid", pa.int64(), nullable=False),
        pa.field("started", pa.string(), nullable=False),
        pa.field("ttl_seconds", pa.float64(), nullable=False),
        pa.field("renewed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""One row: who holds, or held last, the lease `name`."""

TTL_SECONDS = 60.0
"""A holder elsewhere that shows no sign of life for so long is taken to be dead."""

BEATS_PER_TTL = 4
"""Renewals in a time to live: three may fail, in an outage of the store, before others take over."""

POLL_SECONDS = (0.05, 1.0)
"""First and longest pause between two looks at a lease that another holds."""

COMMITS_BEFORE_TIDYING = 64
"""A renewal leaves a file of 2 KB and a log entry; they are cleared away so often."""

CLEARED_AFTER_HOURS = 1

GIVE_BACK_SECONDS = 5.0
"""How long an ending run waits for a renewal that is under way."""


@dataclass(frozen=True)
class Holder:
    """Who holds, or held last, a lease; the row of its name."""

    name: str
    term: int
    """Counts the takings of the name: a later holder has a higher term."""
    beat: int
    """Counts the renewals of this term."""
    released: bool
    machine: str
    pid: int
    started: str
    """When the process began, in the machine's own ticks: a process id is used again."""
    ttl_seconds: float
    renewed_at: datetime
    """By the holder's clock; for people, never compared."""

    @property
    def is_gone(self) -> bool:
        """Whether it gave the lease back, or was a process of this machine that has ended."""
        return self.released or (self.machine == _machine() and _started(self.pid) != self.started)

    @property
    def words(self) -> str:
        """Who it is, for an error."""
        when = self.renewed_at.isoformat(timespec="seconds")
        return f"process {self.pid} on {self.machine.partition(' ')[0]}, last renewed {when}"


class Watch:
    """Tells whether a holder shows signs of life, by this process's monotonic clock."""

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None
        self._since = time.monotonic()
        self.has_moved = False
        """Whether the row has changed while it was watched."""

    def is_dead(self, holder: Holder) -> bool:
        """Whether `holder` has ended, or has not renewed for its time to live since first seen."""
        sign = (holder.term, holder.beat)
        if sign != self._seen:
            self.has_moved = self._seen is not None
            self._seen, self._since = sign, time.monotonic()
        return holder.is_gone or time.monotonic() - self._since >= holder.ttl_seconds


class Lease:
    """A lease that this process holds; renewed in the background until it is given back."""

    def __init__(self, table: "_Table", holder: Holder) -> None:
        self._table = table
        self._holder = holder
        self._unanswered: Holder | None = None
        self._changing = threading.Lock()
        self._over = threading.Event()
        self._renewing = threading.Thread(target=self._renew_for_ever, daemon=True)
        self._renewing.start()

    @property
    def term(self) -> int:
        """Higher than that of every earlier holder."""
        return self._holder.term

    def check(self) -> None:
        """Renew now; call it right before a step that only the holder may take.

        Raises:
            RegistryError: another took the lease over, for this process was taken to be dead.
        """
        with self._changing:
            self._settle()
            self._unanswered = renewed = replace(
                self._holder, beat=self._holder.beat + 1, renewed_at=_now()
            )
            if not self._table.swap(self._holder, renewed):
                raise RegistryError(
                    f"The lease {self._holder.name} was lost: another run took it over, because this "
                    "one showed no sign of life. Nothing was changed; repeat this run."
                )
            self._holder, self._unanswered = renewed, None

    def give_back(self) -> None:
        """End the lease; one that was lost is left to its new holder."""
        self._over.set()
        # Arrow's threads may not outlive the interpreter; a store out of reach is not waited for.
        self._renewing.join(timeout=GIVE_BACK_SECONDS)
        with self._changing, suppress(RegistryError):
            self._settle()
            self._table.swap(self._holder, replace(self._holder, released=True, renewed_at=_now()))

    def _settle(self) -> None:
        """See whether a renewal that the store did not answer was done all the same."""
        if self._unanswered and self._table.look(self._holder.name) == self._unanswered:
            self._holder = self._unanswered
        self._unanswered = None

    def _renew_for_ever(self) -> None:
        while not self._over.wait(self._holder.ttl_seconds / BEATS_PER_TTL):
            # A store that is out of reach may be back at the next beat; `check` tells the loser.
            with suppress(RegistryError):
                self.check()


_held: ContextVar[dict[tuple[str, str], Lease]] = ContextVar("held")  # by table and name


class Leases:
    """The leases of one pipeline, the Delta table `<root>/leases`.

    Args:
        root: folder or object-store URL of the pipeline's tables.
    """

    def __init__(self, root: str) -> None:
        self.uri = f"{root.rstrip('/')}/leases"

    @contextmanager
    def held(
        self, name: str, *, timeout_seconds: float = 60.0, ttl_seconds: float = TTL_SECONDS
    ) -> Iterator[Lease]:
        """Hold the lease `name`; within it, the same run may hold it again.

        A dead holder's lease is taken over: at once if it was a process of this machine, else after
        its time to live, which may be longer than `timeout_seconds`.

        Args:
            timeout_seconds: how long to wait for a holder that is alive.
            ttl_seconds: how long others wait for a sign of life of this holder.

        Raises:
            RegistryError: a living holder kept it, or the table cannot be read or written; an object
                store that is out of reach is waited for as long as a living holder is.
        """
        key, outer = (self.uri, name), _held.get({})
        if key in outer:
            yield outer[key]
            return
        table = _Table(self.uri)
        lease = Lease(table, _take(table, name, timeout_seconds, ttl_seconds))
        token = _held.set({**outer, key: lease})
        try:
            yield lease
        finally:
            _held.reset(token)
            lease.give_back()

    def holder(self, name: str) -> Holder | None:
        """Who holds, or held last, the lease `name`; None before anyone did."""
        return _Table(self.uri).look(name)

    def holders(self) -> list[Holder]:
        """The last holder of every name."""
        return _Table(self.uri).rows()


def _take(table: "_Table", name: str, timeout_seconds: float, ttl_seconds: float) -> Holder:
    watch, deadline = Watch(), time.monotonic() + timeout_seconds
    pause, longest = POLL_SECONDS
    wanted: Holder | None = None
    while True:
        try:
            before = table.look(name)
            if before is not None and before == wanted:
                return wanted  # by a commit whose answer was lost
            if before is None or watch.is_dead(before):
                wanted = _this_process(name, before.term + 1 if before else 1, ttl_seconds)
                if table.swap(before, wanted):
                    return wanted
                continue
            shows_life = watch.has_moved or before.machine == _machine()
            if shows_life and time.monotonic() > deadline:
                raise RegistryError(
                    f"{name} is held by {before.words}, for more than {timeout_seconds:g} s. "
                    "Wait for that run to finish, or stop it, then repeat this one."
                )
        except RegistryUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _this_process(name: str, term: int, ttl_seconds: float) -> Holder:
    return Holder(
        name=name,
        term=term,
        beat=0,
        released=False,
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        ttl_seconds=ttl_seconds,
        renewed_at=_now(),
    )


class _Table:
    """The Delta table of leases: looked at, and changed by compare-and-swap."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def look(self, name: str) -> Holder | None:
        return next((row for row in self.rows() if row.name == name), None)

    def rows(self) -> list[Holder]:
        with _explained(self.uri):
            table = self._open()
            return [] if table is None else _holders(table)

    def swap(self, before: Holder | None, after: Holder) -> bool:
        """Make `after` the row of its name if that row is still `before`; says whether it did."""
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        with _explained(self.uri):
            table = self._open() or self._create()
            if next((row for row in _holders(table) if row.name == after.name), None) != before:
                return False
            row = one_row(asdict(after), LEASES)
            began_at = table.version()
            transaction = Transaction(f"lease/{after.name}", began_at + 1)
            try:
                # From the snapshot that was compared: a commit in between is a conflict.
                write_deltalake(
                    table,
                    row,
                    mode="overwrite",
                    predicate=f"name = '{after.name}'",
                    commit_properties=CommitProperties(app_transactions=[transaction]),
                )
            except CommitFailedError:
                return self.look(after.name) == after
            _tidy(table, began_at)
        return True

    def _open(self) -> "DeltaTable | None":
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self.uri)
        except TableNotFoundError:
            return None

    def _create(self) -> "DeltaTable":
        from deltalake import DeltaTable
        from deltalake.exceptions import CommitFailedError

        retention = f"interval {CLEARED_AFTER_HOURS} hours"
        try:
            return DeltaTable.create(
                self.uri,
                LEASES,
                mode="ignore",
                partition_by=["name"],
                configuration={
                    "delta.checkpointInterval": str(COMMITS_BEFORE_TIDYING),
                    "delta.logRetentionDuration": retention,
                    "delta.deletedFileRetentionDuration": retention,
                },
            )
        except CommitFailedError:  # another has created it meanwhile
            return DeltaTable(self.uri)


def _holders(table: "DeltaTable") -> list[Holder]:
    return [Holder(**row) for row in rows_of(table, order_by="name")]


def _tidy(table: "DeltaTable", began_at: int) -> None:
    from deltalake.exceptions import DeltaError

    if table.version() // COMMITS_BEFORE_TIDYING > began_at // COMMITS_BEFORE_TIDYING:
        # Another may be tidying too; what stays is cleared away the next time.
        with suppress(DeltaError, OSError):
            table.vacuum(
                retention_hours=CLEARED_AFTER_HOURS,
                dry_run=False,
                enforce_retention_duration=False,
                full=True,  # a checkpoint forgets removed files as old as this
            )


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as error:
        raise (RegistryUnavailable if "://" in uri else RegistryError)(
            f"The leases at {uri} cannot be used: {str(error).splitlines()[0]}. Check that the "
            "location can be reached and written, then repeat this run."
        ) from error


@cache
def _machine() -> str:
    """This machine since its last boot, and the space that process ids are of (a container's own)."""
    space = Path("/proc/self/ns/pid")
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = [os.uname().nodename]
    if boot.exists():
        parts += [boot.read_text().strip(), str(space.readlink())]
    return " ".join(parts)


def _started(pid: int) -> str:
    """When process `pid` began, in ticks since boot; empty once it has ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _started_without_proc(pid)
    ended = after_name[0] in "ZX"  # a zombie's work is over
    return "" if ended else after_name[19]


def _started_without_proc(pid: int) -> str:
    """Without /proc, as on macOS: whether it runs at all."""
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"


def _now() -> datetime:
    return datetime.now(UTC)
