"""What a log's row must be: typed columns out of text, and the reason why a row is refused.

One pass over the text gives both, so that a good row costs no second look. The reasons are few
and never hold a value, so that they can be counted.
"""

# Names and values from outside go through `engine.name` and `engine.text`.
# ruff: noqa: S608

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

NOT_JSON = "not a JSON object"
NOT_UTF8 = "not UTF-8"
WRONG_COLUMNS = "wrong number of columns"
UNBALANCED_QUOTES = "unbalanced quotes"
TOO_LONG = "line is too long"
FUTURE = "event_time is in the future"

WANTED = (
    "event_id",
    "event_time",
    "impression_id",
    "user_id",
    "item_id",
    "position",
    "label",
    "history",
    "surface",
    "dwell_seconds",
    "context",
)
REQUIRED = ("event_time", "user_id", "item_id", "label")

MIND_BEHAVIORS = ("impression_id", "user_id", "event_time", "history", "candidates")

_MIND_TIME = "%m/%d/%Y %I:%M:%S %p"
_TOLERANCE = timedelta(hours=1)
_ITEMS = '[{"item_id":"VARCHAR","label":"TINYINT"}]'
_CLICKED = "{'item_id': x, 'label': 1::TINYINT}"


@dataclass(frozen=True)
class Window:
    """Which times a day's files may hold."""

    day: date
    time_zone: str
    late_days: int
    daily: bool
    """Whether the files belong to the day; otherwise the day takes its own rows of them."""
    now: datetime

    def time_reasons(self) -> list[tuple[str, str]]:
        """SQL conditions with reasons: the future, and in a day's own file the long past."""
        if not self.daily:
            return [(f"event_time > {_stamp(self.now)}", FUTURE)]
        latest = min(self._end(), self.now)
        oldest = self.day - timedelta(days=self.late_days)
        return [
            (f"event_time > {_stamp(latest)}", FUTURE),
            (
                f"event_date < DATE '{oldest}'",
                f"too late: event_time is more than {self.late_days} days before the file's day",
            ),
        ]

    def is_over(self) -> bool:
        """Whether no row of the day's own file can be the future only because of the clock."""
        return self.now >= self._end()

    def _end(self) -> datetime:
        following = datetime.combine(
            self.day + timedelta(days=1), datetime.min.time(), ZoneInfo(self.time_zone)
        )
        return following.astimezone(UTC) + _TOLERANCE

    def date_sql(self) -> str:
        """SQL: the day of `event_time`; the day at hand, nearly every row's, by two comparisons."""
        zone = ZoneInfo(self.time_zone)
        midnight = datetime.min.time()
        first = datetime.combine(self.day, midnight, zone)
        after = datetime.combine(self.day + timedelta(days=1), midnight, zone)
        return (
            f"CASE WHEN event_time >= {_stamp(first)} AND event_time < {_stamp(after)} "
            f"THEN DATE '{self.day}' ELSE event_time::DATE END"
        )

    def own(self) -> str:
        """SQL condition: the row is the day's, in its own partition or a late one's."""
        return "true" if self.daily else f"event_date = DATE '{self.day}'"

    def homeless(self) -> str:
        """SQL condition: the row belongs to no day, so that the first day to read it takes it."""
        if self.daily:
            return "false"
        return f"(event_date IS NULL OR event_time > {_stamp(self.now)})"


def _stamp(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"


def time_sql(column: str) -> str:
    """SQL: text as a time; ISO 8601 with or without offset, or seconds, ms or µs since 1970."""
    # The number stands in a lambda: written out, it would be parsed for rows that do not need it.
    return f"""COALESCE(TRY_CAST({column} AS TIMESTAMPTZ),
        list_transform([TRY_CAST({column} AS DOUBLE)], lambda x: CASE
            WHEN abs(x) BETWEEN 1e8 AND 1e11 THEN make_timestamptz((x * 1e6)::BIGINT)
            WHEN abs(x) BETWEEN 1e11 AND 1e14 THEN make_timestamptz((x * 1e3)::BIGINT)
            WHEN abs(x) BETWEEN 1e14 AND 1e17 THEN make_timestamptz(x::BIGINT) END)[1])"""


def reason_sql(reasons: Sequence[tuple[str, str]]) -> str:
    """SQL: the reason of the first condition that holds, NULL where none does."""
    cases = "\n".join(f"WHEN {condition} THEN '{_quoted(reason)}'" for condition, reason in reasons)
    return f"CASE {cases} END"


def _quoted(reason: str) -> str:
    return reason.replace("'", "''")


def id_reasons(columns: Sequence[str]) -> list[tuple[str, str]]:
    """Conditions under which a key is missing, or is a JSON list or object instead of a text."""
    missing = [(f"{column} IS NULL", f"{column} is missing") for column in columns]
    nested = [
        (
            f"(starts_with({column}, '{{') OR starts_with({column}, '[')) AND json_valid({column})",
            f"{column} is not plain text",
        )
        for column in columns
    ]
    return missing + nested


def history_sql(column: str) -> str:
    """SQL: a JSON list of ids or of {item_id, label}, or ids with spaces, as our HISTORY."""
    return f"""CASE WHEN trim({column}) = '' OR {column} IS NULL THEN NULL
        WHEN {column}[1] = '[' THEN CASE WHEN NOT json_valid({column}) THEN NULL
            WHEN json_type({column}, '$[0]') = 'OBJECT'
            THEN list_transform(list_filter(json_transform({column}, '{_ITEMS}'),
                lambda x: x.item_id IS NOT NULL), lambda x:
                {{'item_id': x.item_id, 'label': COALESCE(x.label, 1)::TINYINT}})
            ELSE list_transform(list_filter(json_transform({column}, '["VARCHAR"]'),
                lambda x: x IS NOT NULL), lambda x: {_CLICKED}) END
        WHEN {column}[1] = '{{' THEN NULL
        ELSE list_transform(str_split(trim({column}), ' '), lambda x: {_CLICKED}) END"""


def typed_rows(select: str, window: Window) -> str:
    """SQL: the text columns of `select` as typed columns, with `reason` where a row is refused."""
    # The typed value is looked at first: why it is NULL matters to few rows.
    reasons = [
        *id_reasons(["user_id", "item_id"]),
        ("event_time IS NULL AND NULLIF(time_text, '') IS NULL", "event_time is missing"),
        ("event_time IS NULL", "event_time cannot be read"),
        *window.time_reasons(),
        ("label IS NULL AND NULLIF(label_text, '') IS NULL", "label is missing"),
        ("label IS NULL", "label is not 0 or 1"),
        ("position IS NULL AND position_text <> ''", "position is not a whole number"),
        ("dwell_seconds IS NULL AND dwell_text <> ''", "dwell_seconds is not a number"),
        ("history IS NULL AND history_text <> ''", "history is not a list of items"),
    ]
    # Stacked selects name each parsed value once, so that no text is parsed twice.
    return f"""
    SELECT file, {_event_id("COALESCE(event_id, ", ")")} AS event_id, event_time, event_date,
        impression_id, user_id, item_id, position, label, history, surface, dwell_seconds,
        context, {reason_sql(reasons)} AS reason
    FROM (SELECT *, {window.date_sql()} AS event_date, {_impression_id()} AS impression_id
    FROM (SELECT file, NULLIF(event_id, '') AS event_id, NULLIF(impression_id, '') AS given,
        NULLIF(user_id, '') AS user_id, NULLIF(item_id, '') AS item_id,
        event_time AS time_text, {time_sql("event_time")} AS event_time,
        label AS label_text, {_label("label")} AS label,
        position AS position_text, {_position("position")} AS position,
        dwell_seconds AS dwell_text, {_finite("dwell_seconds")} AS dwell_seconds,
        history AS history_text, {history_sql("history")} AS history,
        surface, context
    FROM ({select})))"""


def mind_lines(select: str, window: Window) -> str:
    """SQL: MIND's impressions, one a line, with `reason` where the whole line is refused."""
    reasons = [
        ("user_id IS NULL", "user_id is missing"),
        ("time_text IS NULL", "event_time is missing"),
        ("event_time IS NULL", "event_time cannot be read"),
        *window.time_reasons(),
        ("candidates IS NULL", "item_id is missing"),
    ]
    return f"""
    SELECT *, {reason_sql(reasons)} AS reason FROM (
    SELECT *, {window.date_sql()} AS event_date, {_impression_id()} AS impression_id FROM (
    SELECT file, impression_id AS given, user_id, event_time AS time_text,
        try_strptime(event_time, '{_MIND_TIME}')::TIMESTAMPTZ AS event_time,
        COALESCE({history_sql("history")}, []) AS history,
        NULLIF(trim(candidates), '') AS candidates
    FROM ({select})))"""


def mind_rows(own: str) -> str:
    """SQL: the candidates of the table `impressions`, in order; `own` picks the day's."""
    return f"""
    SELECT file, record, {_event_id("", "")} AS event_id, event_time, event_date, impression_id,
        user_id, item_id, NULL::INTEGER AS position, label, surface, dwell_seconds, context,
        CASE WHEN item_id IS NULL THEN 'item_id is missing'
             WHEN label IS NULL THEN 'label is not 0 or 1' END AS reason
    FROM (SELECT *, NULLIF(regexp_replace(candidate, '-[^-]*$', ''), '') AS item_id,
        {_label("regexp_extract(candidate, '-([01])$', 1)")} AS label,
        NULL::VARCHAR AS surface, NULL::DOUBLE AS dwell_seconds, NULL::VARCHAR AS context
    FROM (SELECT file, rowid AS record, event_time, event_date, impression_id, user_id,
        unnest(str_split(candidates, ' ')) AS candidate
    FROM impressions WHERE reason IS NULL AND {own}))"""


def _event_id(before: str, after: str) -> str:
    parts = "impression_id, user_id, item_id, epoch_us(event_time)"
    return f"{before}md5(concat_ws(chr(31), {parts})){after}"


def _impression_id() -> str:
    return "COALESCE(given, md5(concat_ws(chr(31), user_id, epoch_us(event_time))))"


def _label(value: str) -> str:
    return f"""CASE {value} WHEN '0' THEN 0::TINYINT WHEN '1' THEN 1::TINYINT
        WHEN 'false' THEN 0::TINYINT WHEN 'true' THEN 1::TINYINT
        WHEN 'False' THEN 0::TINYINT WHEN 'True' THEN 1::TINYINT
        WHEN '0.0' THEN 0::TINYINT WHEN '1.0' THEN 1::TINYINT END"""


def _position(value: str) -> str:
    """A whole number of 0 or more; a cast of a fraction would round."""
    whole = f"CASE WHEN NOT contains({value}, '.') THEN TRY_CAST({value} AS UINTEGER) END"
    # The lambda keeps fractions from being parsed for rows that have none.
    fraction = f"""list_transform([TRY_CAST({value} AS DOUBLE)], lambda x:
        CASE WHEN x = trunc(x) AND x BETWEEN 0 AND 2147483647 THEN x::UINTEGER END)[1]"""
    return f"TRY_CAST(COALESCE({whole}, {fraction}) AS INTEGER)"


def _finite(value: str) -> str:
    number = f"TRY_CAST({value} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"
