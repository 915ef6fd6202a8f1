"""The configured source as the interactions noun takes it."""

from datetime import date

from tasks import config
from tasks.interactions.source import (
    Source,
    catalogue_fingerprint,
    digest_of,
    find_files,
    fingerprint,
)


def source_of(settings: config.Source) -> Source:
    """The source that `settings` describe."""
    return Source(**settings.model_dump())


def day_digest(settings: config.Source, day: date) -> str:
    """Digest of the day's logs and catalogue and how they are read: equal is the same input.

    Raises:
        SourceError: there is no file for `day`.
    """
    source = source_of(settings)
    logs = fingerprint(source, find_files(source.interactions, day))
    return combined(logs, catalogue_fingerprint(source, find_files(source.items, day)))


def combined(logs: str, catalogue: str) -> str:
    """The day's digest from those of its logs and of its catalogue."""
    return digest_of([logs, catalogue])
