import gzip
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tasks.interactions.lake import Lake
from tasks.interactions.publish import Publication, publish_day
from tasks.interactions.source import Source
from tasks.interactions.stage import stage_day
from tasks.interactions.staged import StagedDay

DAY = date(2026, 11, 2)
NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Bench:
    """A lake, a staging folder and a folder of logs, with the shortest ways to use them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staging = root / "staging"
        self.lake = Lake(str(root / "lake"))
        self.logs = root / "logs"
        self.logs.mkdir(exist_ok=True)

    def source(self, location: str = "{date}.jsonl", form: str = "jsonl", **more: Any) -> Source:
        return Source(form, f"{self.logs}/{location}", **more)

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        body = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(body, mtime=0) if name.endswith(".gz") else body)
        return path

    def write_rows(self, rows: Sequence[dict[str, Any]], name: str = "2026-11-02.jsonl") -> Path:
        return self.write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def stage(self, source: Source | None = None, day: date = DAY, **more: Any) -> StagedDay:
        options = {"memory_gib": 0.5, "threads": 1, "now": NOW, "lake": self.lake} | more
        return stage_day(source or self.source(), day, staging=self.staging, **options)

    def run(self, source: Source | None = None, day: date = DAY, **more: Any) -> Publication:
        return publish_day(self.lake, self.stage(source, day, **more))

    def published(self, *columns: str) -> list[tuple[Any, ...]]:
        rows = self.lake.read("interactions", columns=list(columns)).to_pylist()
        return sorted(tuple(row.values()) for row in rows)

    def refused(self) -> list[tuple[int, str, str]]:
        rows = self.lake.read("quarantine").to_pylist()
        return sorted((row["line"], row["reason"], row["raw"]) for row in rows)


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A good row; each number is another event."""
    return {
        "event_id": f"e{number}",
        "event_time": f"2026-11-02T10:00:{number % 60:02d}Z",
        "impression_id": f"p{number // 2}",
        "user_id": f"u{number // 4}",
        "item_id": f"n{number}",
        "label": number % 2,
    } | changes
