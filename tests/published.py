"""A small portal whose first days are published, without a flow and without a model."""

from collections.abc import Sequence
from datetime import date

from tasks.ingest import ingest
from tasks.publish import publish
from tasks.references import Published
from tasks.workspace import Workspace


def publish_days(workspace: Workspace, days: Sequence[date]) -> list[Published]:
    """Ingest and publish each of `days`; they are not validated."""
    return [publish.fn(workspace, ingest.fn(workspace, day), False) for day in days]
