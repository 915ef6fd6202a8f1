"""The rows of a small Delta table, without pandas."""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from deltalake import DeltaTable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_of(table: "DeltaTable", *, order_by: str) -> list[dict[str, Any]]:
    """All rows as of the version that `table` is at, in the order of a column.

    Pyarrow's datasets, and its conversion of times, import pandas, which takes as long as all else
    that a short command such as a rollback does. So the engine of the table's own library reads,
    and times (microseconds, UTC) are converted here.

    Raises:
        DeltaError: a file is missing, damaged or out of reach.
    """
    from deltalake import QueryBuilder

    query = f"SELECT * FROM of_table ORDER BY {order_by}"  # noqa: S608 - a column of ours
    reader = QueryBuilder().register("of_table", table).execute(query)
    read = pa.RecordBatchReader.from_stream(reader).read_all()
    columns = [_values(column) for column in read.columns]
    names = read.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def one_row(row: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of one row, by Arrow's reader of JSON: `pa.array` too would import pandas."""
    from pyarrow import json as arrow_json

    line = json.dumps(row, default=datetime.isoformat).encode()
    explicit = arrow_json.ParseOptions(explicit_schema=schema)
    read = arrow_json.read_json(io.BytesIO(line), parse_options=explicit)
    return pa.Table.from_arrays(read.columns, schema=schema)


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()
    counted = [us for chunk in column.chunks for us in chunk.view(pa.int64()).to_pylist()]
    return [None if us is None else EPOCH + timedelta(microseconds=us) for us in counted]
