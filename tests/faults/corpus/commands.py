"""Command lines that cannot be meant, and candidates that cannot be scored."""

import socket

from corpus.case import COMPLETE, DAY, Bad, Case, Damage, no_damage, write

NEXT = "2026-03-04"
GOOD = "user_id,item_id\nU1,n175\nU1,n176\n"


def bad(name: str, command: str, *says: str, damage: Damage = no_damage, code: int = 2) -> Bad:
    return Bad("command", name, says, damage, command.split(), code)


def predicting(
    name: str, file: str, content: bytes | str | None, *says: str, more: str = "", code: int = 1
) -> Bad:
    """`predict` on a file of that content."""

    def damage(case: Case) -> None:
        if content is not None:
            write(case.folder / file, content)

    return bad(name, f"predict portal --input {file} {more}", *says, damage=damage, code=code)


TAKEN: list[socket.socket] = []


def port_in_use(case: Case) -> None:
    """Listen on a port, and let the command ask for it."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", PORT))
    listening.listen()
    TAKEN.append(listening)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT = _free_port()


def help_of(command: str) -> str:
    return f"What it takes: dayspring {command} --help"


COMMANDS = [
    bad("nothing", "", "You wrote: dayspring", "A command is missing", "dayspring --help"),
    bad("a mistyped command", "rnu portal", "'rnu'", "No such command", "Did you mean 'run'?"),
    bad("no pipeline", "run", "dayspring run", "Missing argument 'pipeline'", help_of("run")),
    bad(
        "a mistyped pipeline",
        f"run protal --day {DAY}",
        *("'protal'", "pipelines.yaml has: portal", "Did you mean portal?"),
    ),
    bad(
        "a mistyped option",
        f"run portal --dya {DAY}",
        *("--dya", "No such option", "Possible options: --day"),
    ),
    bad(
        "an argument too many",
        f"run portal {DAY}",
        *("(2026-03-03)", "unexpected extra argument", help_of("run")),
    ),
    bad(
        "an option without its value",
        "run portal --day",
        "'--day'",
        "requires an argument",
        "--help",
    ),
    bad(
        "a day that does not exist",
        "run portal --day 2026-02-30",
        *("'2026-02-30'", "does not match the formats '%Y-%m-%d'", help_of("run")),
    ),
    bad(
        "a day in words",
        "run portal --day yesterday",
        *("'yesterday'", "does not match the formats '%Y-%m-%d'", help_of("run")),
    ),
    bad(
        "a day of the future",
        "run portal --day 2999-01-01",
        *("No file for 2999-01-01", "logs/items/2999-01-01.jsonl", "Deliver it, or run a day"),
        code=1,
    ),
    bad(
        "--from after --to",
        f"backfill portal --from {NEXT} --to {DAY}",
        *("--from 2026-03-04", "is after --to 2026-03-03", "swap them"),
    ),
    bad(
        "no --to",
        f"backfill portal --from {DAY}",
        *("--from 2026-03-03", "Missing option '--to'", help_of("backfill")),
    ),
    bad(
        "a backfill of a thousand years",
        "backfill portal --from 1026-01-01 --to 2026-01-01",
        *("365,244 days", "at most 3,660", "Check the years"),
    ),
    bad(
        "the status of a mistyped pipeline",
        "status protal",
        *("'protal'", "pipelines.yaml has: portal", "Did you mean portal?"),
    ),
    bad(
        "the report of a day that never ran",
        f"report portal {NEXT}",
        *("no complete day 2026-03-04", f"there are {COMPLETE}", "Run it: dayspring run portal"),
    ),
    bad(
        "a port out of range",
        "ui --mlflow-port 70000",
        *("--mlflow-port 70000", "less than or equal to 65535", help_of("ui")),
    ),
    bad(
        "a port in words",
        "ui --mlflow-port http",
        *("--mlflow-port http", "should be a valid integer", help_of("ui")),
    ),
    bad(
        "a port in use",
        f"ui --reports-port {PORT}",
        *(str(PORT), "is in use", "choose another with --reports-port"),
        damage=port_in_use,
    ),
    bad(
        "an unknown shift",
        f"simulate --from {NEXT} --shift earthquake:2",
        *("'earthquake'", "A shift cannot be", "Choose one of category_mix"),
    ),
    bad(
        "a shift without a day",
        f"simulate --from {NEXT} --shift category_mix",
        *("'category_mix'", "is not KIND:DAY", "Write it like category_mix:5"),
    ),
    bad(
        "a shift after the last day",
        f"simulate --from {NEXT} --days 3 --shift category_mix:9 --out there",
        *("begins on day 9", "after the last of 3 days", "Give it a day of 1 to 3"),
    ),
    bad(
        "a shift of strength NaN",
        f"simulate --from {NEXT} --shift category_mix:1:nan --out there",
        *("has strength nan", "above 0, at most 1", "Leave it out for 0.2"),
    ),
    bad(
        "negative days",
        f"simulate --from {NEXT} --days -3",
        *("--days -3", "greater than or equal to 1", help_of("simulate")),
    ),
    bad(
        "a negative seed",
        f"simulate --from {NEXT} --seed -1 --out there",
        *("seed is -1", "a whole number of 0 or more", "Change it"),
    ),
    bad(
        "logs into a file",
        f"simulate --from {NEXT} --days 1 --out pipelines.yaml",
        *("pipelines.yaml", "cannot be made a folder", "Name another"),
    ),
    bad(
        "logs beyond the last year",
        "simulate --from 9999-12-30 --days 3 --out there",
        *("3 days from 9999-12-30", "end after 9999-12-31", "Begin earlier"),
    ),
    bad(
        "the truth among the logs",
        f"simulate --from {NEXT} --out there --truth there/interactions/truth.parquet",
        *("there/interactions/truth.parquet", "where a pipeline would read it", "Put it outside"),
    ),
    bad(
        "a config that is missing",
        "run portal --config nowhere.yaml",
        *("nowhere.yaml", "does not exist", "name it with --config"),
    ),
    predicting(
        "candidates that are missing",
        *("missing.csv", None, "missing.csv", "is not a file", "name a file of candidates"),
        code=2,
    ),
    predicting(
        "candidates of an unknown format",
        *("rows.xlsx", b"PK\x03\x04", "'.xlsx'", "names no format", "use one of .jsonl"),
        code=2,
    ),
    predicting(
        "scores into a folder that is missing",
        *("rows.csv", GOOD, "no/such/scores.csv", "is no folder", "make it, or name another"),
        more="--output no/such/scores.csv",
        code=2,
    ),
    predicting(
        "scores of an unknown format",
        *("rows.csv", GOOD, "'.xlsx'", "names no format", "use one of .jsonl"),
        more="--output scores.xlsx",
        code=2,
    ),
    bad(
        "scores over a folder",
        "predict portal --input rows.csv --output taken.csv",
        *("taken.csv", "is a folder", "name a file"),
        damage=lambda case: (
            write(case.folder / "rows.csv", GOOD),
            (case.folder / "taken.csv").mkdir(),
        ),
    ),
    predicting(
        "an empty file of candidates", "rows.csv", "", "rows.csv", "is empty", "give it a line"
    ),
    predicting(
        "a header without candidates",
        *("rows.csv", "user_id,item_id\n", "rows.csv", "holds no rows", "give it one"),
    ),
    predicting(
        "candidates without item_id",
        *("rows.csv", "user_id,article\nU1,N1\n", "user_id, article", "has no column item_id"),
        "map it in source.columns",
    ),
    predicting(
        "a candidate without a user",
        *(
            "rows.csv",
            "user_id,item_id\n,N1\nU1,N1\n",
            "1 of its 2 rows",
            "have no user_id",
            "fill it",
        ),
    ),
    predicting(
        "a candidate's time in words",
        *("rows.csv", "user_id,item_id,event_time\nU1,N1,soon\n"),
        *('"soon"', "expected format is (YYYY-MM-DD", "Repair that value"),
    ),
    predicting(
        "a candidate's history that is none",
        *("rows.jsonl", '{"user_id": "U1", "item_id": "N1", "history": {"a": 1}}\n'),
        *("struct<a: int64>", "cannot be read", "Repair that value"),
    ),
    predicting(
        "candidates in half an object",
        *("rows.jsonl", '{"user_id": "U1", \n', 'in file "rows.jsonl"', "Malformed JSON"),
        "write the file again",
    ),
    predicting(
        "garbage for candidates",
        *("rows.parquet", b"garbage" * 100, "rows.parquet", "No magic bytes found"),
        "write the file again",
    ),
]
