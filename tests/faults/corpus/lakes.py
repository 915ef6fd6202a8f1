"""Damage to the tables that Dayspring has written itself, and to what it had staged."""

from pathlib import Path

from corpus.case import COMPLETE, DAY, GOOD_ROWS, RUN, Bad, Case, Damage, write

AGAIN = ("run", "portal", "--day", str(COMPLETE), "--json")
PLAN = ("backfill", "portal", "--from", str(COMPLETE), "--to", str(DAY), "--dry-run", "--json")


def logged(case: Case, table: str) -> list[Path]:
    return sorted((case.lake / table / "_delta_log").glob("*.json"))


def garbled(table: str) -> Damage:
    return lambda case: write(logged(case, table)[-1], "garbage\n")


def without_log(table: str) -> Damage:
    return lambda case: [path.unlink() for path in logged(case, table)]


def without_newest(table: str) -> Damage:
    return lambda case: logged(case, table)[-1].unlink()


def files(case: Case, table: str) -> list[Path]:
    return list((case.lake / table).rglob("*.parquet"))


def without_files(table: str) -> Damage:
    return lambda case: [path.unlink() for path in files(case, table)]


def garbage_files(table: str) -> Damage:
    return lambda case: [write(path, b"garbage" * 50) for path in files(case, table)]


def deleted_from_journal(event: str) -> Damage:
    def damage(case: Case) -> None:
        from deltalake import DeltaTable

        DeltaTable(str(case.lake / "journal")).delete(f"event = '{event}'")

    return damage


def garbled_staging(case: Case) -> None:
    """What a killed run had staged of the day, and a full disk has cut short."""
    from tasks.sources import source_of
    from tasks.workspace import open_workspace

    workspace = open_workspace(case.config, "portal")
    from tasks.interactions.stage import stage_day

    staged = stage_day(
        source_of(workspace.config.source), DAY, staging=workspace.staging, lake=workspace.lake
    )
    write(staged.folder / "manifest.json", '{"folder": ')


def bad(name: str, damage: Damage, *says: str, command: tuple[str, ...] = RUN) -> Bad:
    return Bad("lake", name, says, damage, command)


RESTORE = "Restore the lake from a backup"
JOURNAL = "restore it from a backup if it is damaged"
DELETED = ("has no such row: rows were deleted", "Restore the table to a version that still has")

LAKES = [
    *(
        bad(
            f"garbage in the log of {table}",
            garbled(table),
            *(
                f"lake/portal/{table}",
                "cannot be opened",
                "restore files that are missing or damaged",
            ),
        )
        for table in ("interactions", "items", "item_hours", "profiles")
    ),
    bad(
        "garbage in the log of the journal",
        garbled("journal"),
        *("lake/portal/journal", "cannot be used", JOURNAL),
    ),
    bad(
        "interactions without a log",
        without_log("interactions"),
        *("interactions is not there", "was published at its version 1", RESTORE),
    ),
    bad(
        "interactions without their newest commit",
        without_newest("interactions"),
        *("interactions is at version 0", "was published at its version 1", RESTORE),
    ),
    bad(
        "items without a log",
        without_log("items"),
        *("items is not there", "was published at its version 1", RESTORE),
    ),
    *(
        bad(
            f"files of {table} missing",
            without_files(table),
            *(
                f"lake/portal/{table}",
                "cannot be read",
                "restore files that are missing or damaged",
            ),
        )
        for table in ("interactions", "items", "item_hours", "profiles")
    ),
    bad(
        "files of the journal missing",
        without_files("journal"),
        *("lake/portal/journal", "cannot be used", JOURNAL),
    ),
    bad(
        "items of garbage",
        garbage_files("items"),
        *("lake/portal/items", "cannot be read", "restore files that are missing or damaged"),
    ),
    bad(
        "the journal's row of a complete day deleted",
        deleted_from_journal("closed"),
        *("2026-03-02/r1/a0/closed", *DELETED),
        command=AGAIN,
    ),
    bad(
        "the journal's row of a publication deleted",
        deleted_from_journal("published"),
        *("2026-03-02/r1/published/", *DELETED),
        command=AGAIN,
    ),
    bad(
        "the status beside a garbled journal",
        garbled("journal"),
        *("lake/portal/journal", "cannot be used", JOURNAL),
        command=("status", "--json"),
    ),
    bad(
        "the plan of a backfill beside a garbled journal",
        garbled("journal"),
        *("lake/portal/journal", "cannot be used", JOURNAL),
        command=PLAN,
    ),
    bad(
        "the report beside a journal without files",
        without_files("journal"),
        *("lake/portal/journal", "cannot be used", JOURNAL),
        command=("report", "portal"),
    ),
    Bad(
        *("lake", "half of what was staged"),
        ("264 rows read", "264 to publish + 0 quarantined"),
        garbled_staging,
        code=0,
        published=GOOD_ROWS,
    ),
]
