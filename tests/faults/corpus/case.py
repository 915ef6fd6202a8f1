"""What a bad input is, and the folder that it is put into."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

DAY = date(2026, 3, 3)
"""The day that is run; the one before it is complete and has brought a champion."""

COMPLETE = DAY - timedelta(days=1)

GOOD_ROWS = 264
"""Of the day as it is delivered, before anything is damaged."""

RUN = ("run", "portal", "--day", str(DAY), "--json")


@dataclass(frozen=True)
class Case:
    """A folder with a config, logs, a base model and a home, all of its own: to be damaged."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "pipelines.yaml"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def database(self) -> Path:
        return self.home / "mlflow.db"

    @property
    def lake(self) -> Path:
        return self.home / "lake" / "portal"

    @property
    def log(self) -> Path:
        """The day's only file, while nobody delivers another."""
        return self.folder / "logs" / "interactions" / str(DAY) / "rows.jsonl"

    @property
    def catalogue(self) -> Path:
        return self.folder / "logs" / "items" / f"{DAY}.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """The day's rows, all good."""
        return parse_lines(self.log.read_text())

    def items(self) -> list[dict[str, Any]]:
        """The day's catalogue, all good."""
        return parse_lines(self.catalogue.read_text())

    def deliver(self, content: bytes | str, name: str = "rows.jsonl") -> None:
        """Make `content` the day's only file, and let the config take whatever it is called."""
        self.log.unlink()
        write(self.log.with_name(name), content)
        self.configure(source={"interactions": "logs/interactions/{date}/*"})

    def configure(self, **changes: Mapping[str, Any]) -> None:
        """Update sections of the pipeline."""
        document = yaml.safe_load(self.config.read_text())
        pipeline = document["pipelines"]["portal"]
        for section, values in changes.items():
            pipeline[section] = {**pipeline.get(section, {}), **values}
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))

    def sql(self, *statements: str) -> None:
        """Run statements on MLflow's database."""
        with closing(sqlite3.connect(self.database)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()


Damage = Callable[[Case], object]


def no_damage(case: Case) -> None:
    """The folder stays as it is: the command itself is bad."""


@dataclass(frozen=True)
class Bad:
    """One bad input: how it is made, and what the command line must answer."""

    kind: str
    name: str
    """What is wrong, in the table's words."""
    says: tuple[str, ...]
    """Parts of the message: the value, the rule that it breaks, the next step."""
    damage: Damage = no_damage
    command: Sequence[str] = RUN
    code: int = 1
    published: int | None = None
    """Rows of the day that are public in spite of it; None where nothing new may be."""

    @property
    def id(self) -> str:
        return f"{self.kind}: {self.name}"


def parse_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def as_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(path: Path, content: bytes | str) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
