"""The configured source as the interactions noun takes it."""

from datetime import date

from tasks import config
from tasks.interactions.source import Source, find_files, fingerprint


def source_of(settings: config.Source) -> Source:
    """The source that `settings` describe."""
    return Source(**settings.model_dump())


def day_digest(settings: config.Source, day: date) -> str:
    """Digest of the day's logs and of how they are read: equal digests are the same input.

    Raises:
        SourceError: there is no file for `day`.
    """
    source = source_of(settings)
    return fingerprint(source, find_files(source.interactions, day))
