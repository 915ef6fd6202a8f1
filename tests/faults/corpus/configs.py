"""Mistakes in pipelines.yaml; nothing may be started with any of them."""

from collections.abc import Callable
from typing import Any

from corpus.case import Bad, Case, Damage, write

CHECK = "look again with `dayspring config check`"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{each}: &{each} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, each in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine levels of nine: 387 million values in 400 letters."""


def edited(change: Callable[[str], str]) -> Damage:
    """The text of the config, changed; an edit that finds nothing is a mistake of the corpus."""

    def damage(case: Case) -> None:
        before = case.config.read_text()
        after = change(before)
        assert after != before
        write(case.config, after)

    return damage


def replaced(old: str, new: str) -> Damage:
    return edited(lambda text: text.replace(old, new))


def appended(more: str) -> Damage:
    return edited(lambda text: text + more)


def whole(content: bytes | str) -> Damage:
    return lambda case: write(case.config, content)


def section(name: str, **values: Any) -> Damage:
    return lambda case: case.configure(**{name: values})


def expectation(**rule: Any) -> Damage:
    return section("validate", expectations=[rule])


def home(location: str) -> Damage:
    def damage(case: Case) -> None:
        write(case.folder / "taken", "a file")
        replaced("home: home", f"home: {location}")(case)

    return damage


def folder_in_its_place(case: Case) -> None:
    case.config.unlink()
    case.config.mkdir()


def bad(name: str, damage: Damage, *says: str) -> Bad:
    return Bad("config", name, says, damage, code=2)


CONFIGS = [
    bad(
        "missing",
        lambda case: case.config.unlink(),
        *("pipelines.yaml", "does not exist", "name it with --config"),
    ),
    bad(
        "a folder in its place",
        folder_in_its_place,
        *("pipelines.yaml", "cannot be read: Is a directory", "Name a readable file"),
    ),
    bad("empty", whole(""), "holds nothing", "must be a mapping", "Write the keys home and"),
    bad(
        "a list at the top",
        whole("- portal\n"),
        *("holds ['portal']", "must be a mapping", "Write the keys home and"),
    ),
    bad(
        "only text",
        whole("portal\n"),
        *("holds 'portal'", "must be a mapping", "Write the keys home and"),
    ),
    bad(
        "not UTF-8",
        whole("home: café\n".encode("latin-1")),
        *("invalid continuation byte at byte 9", "is not UTF-8 text", "Save it as UTF-8"),
    ),
    bad(
        "a NUL byte",
        whole(b"home: \0\n"),
        *("#x0000", "special characters are not allowed", "Repair that place"),
    ),
    bad(
        "a tab as indentation",
        replaced("  portal:", "\tportal:"),
        *("line 3, column 1", "'\\t' that cannot start any token", "Repair that place"),
    ),
    bad(
        "a bracket that is never closed",
        appended("more: [1, 2\n"),
        *("more: [1, 2", "expected ',' or ']'", "Repair that place"),
    ),
    bad(
        "a key twice",
        appended("home: other\n"),
        *("key 'home' appears twice", "is not valid YAML", "Repair that place"),
    ),
    bad(
        "a Python object",
        replaced("home: home", "home: !!python/object/apply:os.system [id]"),
        *(
            "python/object/apply:os.system",
            "could not determine a constructor",
            "Repair that place",
        ),
    ),
    bad(
        "a bomb of anchors",
        appended(BOMB),
        *("more than 100,000 values", "aliases (*name)", "Write out what they stand for"),
    ),
    bad(
        "an anchor that holds itself",
        appended("more: &more\n  again: *more\n"),
        *("more than 100,000 values", "aliases (*name)", "Write out what they stand for"),
    ),
    bad(
        "a mapping as key",
        appended("? {a: b}\n: c\n"),
        *("? {a: b}", "found unhashable key", "Repair that place"),
    ),
    bad("no pipelines", whole("home: x\n"), "pipelines:", "is missing and has no default", CHECK),
    bad(
        "an empty pipeline",
        whole("pipelines: {portal: }\n"),
        *("pipelines.portal: None", "should be a valid dictionary", CHECK),
    ),
    bad(
        "an unknown key",
        section("source", formt="jsonl"),
        *("pipelines.portal.source.formt", "unknown key; did you mean format?", CHECK),
    ),
    bad(
        "an unknown format",
        section("source", format="json"),
        *("source.format: 'json'", "should be 'jsonl', 'csv', 'tsv', 'parquet' or 'mind'", CHECK),
    ),
    bad(
        "a text for a number",
        section("finetune", shots="many"),
        *("finetune.shots: 'many'", "should be a valid integer", CHECK),
    ),
    bad(
        "a number for a text",
        section("source", interactions=7),
        *("source.interactions: 7", "should be a valid string", CHECK),
    ),
    bad(
        "yes for a number",
        section("finetune", shots=True),
        *("pipelines.portal.finetune.shots: true", "is no number", "write digits"),
    ),
    bad(
        "NaN for a number",
        section("promote", min_gain=float("nan")),
        *("promote.min_gain: nan", "should be a finite number", CHECK),
    ),
    bad(
        "a share above 1",
        section("finetune", replay_share=1.5),
        *("finetune.replay_share: 1.5", "should be less than 1", CHECK),
    ),
    bad(
        "shares that leave nothing to learn from",
        section("promote", holdout_share=0.9),
        *("is 1.05 of the day", "leaves no shots", "make their sum less than 1"),
    ),
    bad(
        "a variable that is not set",
        replaced("home: home", "home: ${NOWHERE_TO_BE_FOUND}"),
        *("home: ${NOWHERE_TO_BE_FOUND}", "is not set", "export NOWHERE_TO_BE_FOUND"),
    ),
    bad(
        "cron of six fields",
        section("schedule", cron="0 30 4 * * *"),
        *("cron '0 30 4 * * *'", "must have five fields: minute hour day month weekday", CHECK),
    ),
    bad(
        "cron of minute 99",
        section("schedule", cron="99 4 * * *"),
        *("cron '99 4 * * *'", "has a bad minute", "such as 30 4 * * *"),
    ),
    bad(
        "cron of an unknown weekday",
        section("schedule", cron="30 4 * * mondays"),
        *("cron '30 4 * * mondays'", "has a bad day-of-week", "such as 30 4 * * *"),
    ),
    bad(
        "an unknown time zone",
        section("source", time_zone="Europe/Berlni"),
        *("'Europe/Berlni'", "is not an IANA time zone", "did you mean Europe/Berlin?"),
    ),
    bad(
        "a pipeline's name with a slash",
        replaced("  portal:", "  a/b:"),
        *("'a/b' cannot name a pipeline", "lower-case letters, digits, - and _", CHECK),
    ),
    bad(
        "a pipeline's name in upper case",
        replaced("  portal:", "  Portal:"),
        *("'Portal' cannot name a pipeline", "lower-case letters, digits, - and _", CHECK),
    ),
    bad(
        "a number as a pipeline's name",
        replaced("  portal:", "  7:"),
        *("pipelines.7: 7", "should be a valid string", CHECK),
    ),
    bad(
        "no rule to retrain by",
        section("retrain", any=[]),
        *("pipelines.portal.retrain.any", "should have at least 1 item", CHECK),
    ),
    bad(
        "an unknown rule to retrain by",
        section("retrain", any=[{"rule": "weekly"}]),
        *("any.0.rule: 'weekly' is unknown", "allowed: always, cadence, drift", CHECK),
    ),
    bad(
        "an unknown knob deep in the recipe",
        section("finetune", tuning={"method": "lora", "rnk": 8}),
        *("finetune.tuning.rnk: unknown key", "did you mean rank? allowed: method, rank", CHECK),
    ),
    bad(
        "an unknown way to tune",
        section("finetune", tuning={"method": "lroa"}),
        *("finetune.tuning.method: 'lroa' is unknown", "did you mean lora?", CHECK),
    ),
    bad(
        "a start that names no model",
        section("finetune", warm_start="mind@latest"),
        *("finetune.warm_start: 'mind@latest' names no model", "PIPELINE@champion", CHECK),
    ),
    bad(
        "a start from a pipeline that there is not",
        section("finetune", warm_start="protal@champion"),
        *("finetune.warm_start: there is no pipeline 'protal'", "did you mean portal?", CHECK),
    ),
    bad(
        "a threshold of an unknown column",
        section("drift", thresholds={"categroy": 0.1}),
        *("has no 'categroy'", "it may name category, surface", "did you mean category?"),
    ),
    bad(
        "an unknown expectation",
        expectation(type="ExpectColumnToBeNice", column="label"),
        *("'ExpectColumnToBeNice'", "is no expectation that runs on a data frame", "closest:"),
    ),
    bad(
        "an expectation's unknown argument",
        expectation(type="ExpectColumnMeanToBeBetween", column="label", minimum=0),
        *("has no argument 'minimum'", "ExpectColumnMeanToBeBetween", "closest: min_value"),
    ),
    bad(
        "an expectation's wrong argument",
        expectation(type="ExpectColumnMeanToBeBetween", column="label", min_value=[1]),
        *("ExpectColumnMeanToBeBetween: min_value", "is not a valid float", CHECK),
    ),
    bad(
        "an expectation of an unknown column",
        expectation(type="ExpectColumnMeanToBeBetween", column="labl", min_value=0),
        *("no column 'labl'", "validate.expectations[0]", "closest: label"),
    ),
    bad(
        "a severity that does not exist",
        section("validate", severities={"rows": "fatal"}),
        *("severities.rows: 'fatal'", "should be 'critical' or 'warning'", CHECK),
    ),
    bad(
        "a column that is called nothing",
        section("source", columns={"user_id": None}),
        *("source.columns.user_id: None", "should be a valid string", CHECK),
    ),
    bad(
        "another name for a column that we have not",
        section("source", columns={"usr_id": "u"}),
        *("source.columns has no 'usr_id'", "it may name event_id", "did you mean user_id?"),
    ),
    bad(
        "a date that tells no day",
        section("source", interactions="logs/{date:%Y-%m}/rows.jsonl"),
        *("{date:%Y-%m}", "needs year, month and day", "such as {date:%Y%m%d}"),
    ),
    bad(
        "a date that is mistyped",
        section("source", items="logs/items/{dat}.jsonl"),
        *("source.items: {dat}", "is no date", "write {date}"),
    ),
    bad("home is a file", home("taken"), "taken", "cannot be made: File exists", "Set home in"),
    bad(
        "home below a file",
        home("taken/home"),
        *("taken/home", "cannot be made: Not a directory", "Set home in"),
    ),
    bad(
        "home that cannot be written",
        home("/proc/dayspring"),
        *("/proc/dayspring", "cannot be made", "Set home in"),
    ),
    bad(
        "home on an object store",
        home("s3://bucket/home"),
        *("'s3://bucket/home'", "is no folder of this machine", "set services.lake"),
    ),
]
