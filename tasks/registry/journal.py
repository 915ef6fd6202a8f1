"""The journal: an append-only Delta table that says what happened to a pipeline, when and why.

Each entry has a key, and its commit carries a Delta application transaction of that key. Delta
refuses the second of two commits with one transaction, so an event is recorded once however often
its run is killed and repeated, and whoever else records it at the same moment.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from tasks.errors import RegistryError, RegistryUnavailable
from tasks.registry.evidence import strict_json
from tasks.registry.rows import rows_of

JOURNAL = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("pipeline", pa.string(), nullable=False),
        pa.field("day", pa.date32()),
        pa.field("event", pa.string(), nullable=False),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("model_version", pa.string()),
        pa.field("evidence", pa.string(), nullable=False),
    ]
)
"""One row: one event of a day or of the registry. `evidence` is a JSON object."""

LIVE_SINCE = "live_since"
"""Evidence key: when the alias moved, ISO 8601. After a kill, a move is recorded later."""

MOVES = ("promoted", "approved", "forced", "rolled_back")
"""Events after which `model_version` is live; null means the zero-shot model."""

ATTEMPTS = 8
"""How often an entry is committed while other writers are first."""

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

FILES_BEFORE_COMPACTION = 16
"""One commit leaves one small file, and a read costs 1 ms a file; a day has eight commits."""

COMPACTED_BYTES = 2**20
"""About four months; a merged file of this size is left alone, so that merging stays cheap."""


KEPT_FOR_READERS_HOURS = 168
"""Merged files and old log entries stay this long, for readers that still hold an old version."""


@dataclass(frozen=True)
class Outcome:
    """What came of a step: the part of an entry that only the step itself knows."""

    reason: str
    """One sentence for the operator."""
    actor: str = "dayspring"
    """Who decided: the pipeline itself, or a person's name."""
    day: date | None = None
    model_version: str | None = None
    """The version that the event is about; after a move, the version that is now live."""
    evidence: Mapping[str, object] = field(default_factory=dict)
    """What the decision rests on, in JSON types."""


@dataclass(frozen=True)
class Entry:
    """One recorded event."""

    key: str
    recorded_at: datetime
    pipeline: str
    day: date | None
    event: str
    actor: str
    reason: str
    model_version: str | None
    evidence_json: str

    @property
    def evidence(self) -> dict[str, Any]:
        """What the decision rested on; parsed on each access, so a year is read unparsed."""
        return json.loads(self.evidence_json)

    @property
    def effective_at(self) -> datetime:
        """When the event took effect: when the alias moved, where that is known."""
        since = self.evidence.get(LIVE_SINCE)
        return datetime.fromisoformat(since) if since else self.recorded_at


class Journal:
    """The journal of one pipeline, the Delta table `<root>/journal`.

    Reads are cached by table version, so asking again costs one look at the Delta log.

    Args:
        root: folder or object-store URL of the pipeline's tables.
        pipeline: written into every entry.
    """

    def __init__(self, root: str, pipeline: str) -> None:
        self.uri = f"{str(root).rstrip('/')}/journal"
        self.pipeline = pipeline
        self._table: DeltaTable | None = None
        self._version = -1
        self._entries: dict[str, Entry] = {}

    def once(self, key: str, event: str, compute: Callable[[], Outcome]) -> Entry:
        """The entry of `key`: the recorded one, else `compute` is run and its outcome recorded.

        `compute` runs outside any lock, so it has to be safe to run twice: after a kill it runs
        again, and of two writers at once both run it, one records, both get that entry.

        Raises:
            RegistryError: the key is already recorded as another event, the evidence is not strict
                JSON, or the table cannot be read or written.
        """
        recorded = self.find(key)
        if recorded is None:
            recorded = self._append(key, event, compute())
        if recorded.event != event:
            raise RegistryError(
                f"Journal key {key!r} is recorded as {recorded.event!r}, not {event!r}: "
                "a key names one event. Give this event a key of its own."
            )
        return recorded

    def find(self, key: str) -> Entry | None:
        """The entry of `key`, or None while it is not recorded."""
        return self._load().get(key)

    def entries(self, day: date | None = None, event: str | None = None) -> list[Entry]:
        """Entries in the order they were recorded, of one day and of one event where given."""
        return [
            entry
            for entry in self._load().values()
            if (day is None or entry.day == day) and (event is None or entry.event == event)
        ]

    def champion_at(self, time: datetime) -> str | None:
        """The model version that was live at `time`; None where it was the zero-shot model.

        Raises:
            RegistryError: `time` has no time zone.
        """
        if time.tzinfo is None:
            raise RegistryError(
                f"{time.isoformat()} names no time zone, and the journal's times are UTC. "
                "Pass a time with its zone, such as 2019-11-11T09:00:00+00:00."
            )
        live = [entry.model_version for entry in self.moves() if entry.effective_at <= time]
        return live[-1] if live else None

    def moves(self) -> list[Entry]:
        """What changed the model in service, in the order in which it took effect."""
        moves = [entry for entry in self._load().values() if entry.event in MOVES]
        # The sort is stable, so of two moves in one microsecond the later recorded one counts.
        return sorted(moves, key=lambda entry: entry.effective_at)

    def ascent(self) -> list[str]:
        """The versions that became champion one over the other; the last is live now.

        The one before the last is where a rollback leads, or the zero-shot model. A version that was
        rolled back is no longer among them.
        """
        versions: list[str] = []
        for move in self.moves():
            version = move.model_version
            if version is None:
                versions = []
            elif version in versions:
                versions = versions[: versions.index(version) + 1]
            elif move.event == "rolled_back":
                versions = [*versions[:-1], version]
            else:
                versions = [*versions, version]
        return versions

    def _append(self, key: str, event: str, outcome: Outcome) -> Entry:
        evidence = strict_json(outcome.evidence)
        for _ in range(ATTEMPTS):
            table = self._refresh() or self._create()
            entries = self._load()
            if key in entries:
                return entries[key]
            if table.transaction_version(key) is not None:
                raise RegistryError(
                    f"Journal {self.uri} committed key {key!r} but has no such row: rows were deleted. "
                    "Restore the table to a version that still has them (DeltaTable.restore)."
                )
            # Never behind the last entry, so that the order of times is the order of commits.
            newest = next(reversed(entries.values())).recorded_at if entries else _EARLIEST
            entry = Entry(
                key=key,
                recorded_at=max(datetime.now(UTC), newest + timedelta(microseconds=1)),
                pipeline=self.pipeline,
                day=outcome.day,
                event=event,
                actor=outcome.actor,
                reason=outcome.reason,
                model_version=outcome.model_version,
                evidence_json=evidence,
            )
            try:
                return self._commit(table, entry)
            except CommitFailedError:
                continue  # another writer recorded this key first, or made the table at this moment
        raise RegistryError(
            f"Journal {self.uri} could not record {key!r}: other writers committed first "
            f"{ATTEMPTS} times. Repeat the run."
        )

    def _commit(self, table: DeltaTable, entry: Entry) -> Entry:
        """Commit `entry`.

        Raises:
            deltalake.exceptions.CommitFailedError: another writer was first; look again and repeat.
        """
        read_at = table.version()
        columns = [[value] for value in astuple(entry)]
        row = pa.Table.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, JOURNAL, strict=True)], schema=JOURNAL
        )
        properties = CommitProperties(app_transactions=[Transaction(entry.key, 1)])
        try:
            write_deltalake(table, row, mode="append", commit_properties=properties)
        except CommitFailedError:
            raise
        except (DeltaError, OSError) as error:
            raise self._unusable(error) from error
        if table.version() == read_at + 1 == self._version + 1:
            # Nobody else committed, so what was read stays right: a day records without re-reading.
            self._entries = {**self._entries, entry.key: entry}
            self._version = table.version()
        self._compact(table)
        return entry

    def _compact(self, table: DeltaTable) -> None:
        """Merge the small files once there are many; keys stay taken, by the log's transactions."""
        try:
            sizes = pa.table(table.get_add_actions())["size_bytes"].to_pylist()
            small = [size for size in sizes if size < COMPACTED_BYTES / 2]
            if len(small) >= FILES_BEFORE_COMPACTION:
                table.optimize.compact(target_size=COMPACTED_BYTES)
                table.vacuum(retention_hours=KEPT_FOR_READERS_HOURS, dry_run=False)
        except CommitFailedError:
            return  # another writer compacted at the same moment

    def _create(self) -> DeltaTable:
        configuration = {
            "delta.checkpointInterval": str(FILES_BEFORE_COMPACTION),
            # The journal's history is its rows; old log files are dropped after a checkpoint.
            "delta.logRetentionDuration": f"interval {KEPT_FOR_READERS_HOURS} hours",
        }
        try:
            self._table = DeltaTable.create(
                self.uri, JOURNAL, mode="ignore", configuration=configuration
            )
        except (DeltaError, OSError) as error:
            # Of two creators at once the slower finds the other's table.
            created = self._refresh()
            if created is None:
                raise self._unusable(error) from error
            return created
        return self._table

    def _refresh(self) -> DeltaTable | None:
        """The table at its newest version; None before the first entry."""
        try:
            if self._table is None:
                self._table = DeltaTable(self.uri)
            else:
                self._table.update_incremental()
        except TableNotFoundError:
            self._table = None
        except (DeltaError, OSError) as error:
            raise self._unusable(error) from error
        return self._table

    def _load(self) -> dict[str, Entry]:
        """Entries by key, oldest first."""
        table = self._refresh()
        if table is None:
            return {}
        if table.version() != self._version:
            try:
                rows = rows_of(table, order_by="recorded_at")
            except (DeltaError, OSError, pa.ArrowException) as error:
                raise self._unusable(error) from error
            names = JOURNAL.names
            self._entries = {row["key"]: Entry(*(row[name] for name in names)) for row in rows}
            self._version = table.version()
        return self._entries

    def _unusable(self, error: Exception) -> RegistryError:
        self._table = None
        remote = "://" in self.uri
        return (RegistryUnavailable if remote else RegistryError)(
            f"Journal {self.uri} cannot be used: {str(error).splitlines()[0]}. Check that the "
            "location can be reached and written; restore it from a backup if it is damaged."
        )
