"""Bad inputs by kind, each with what the answer to it must say."""

from corpus.case import Bad
from corpus.catalogues import CATALOGUES
from corpus.commands import COMMANDS
from corpus.configs import CONFIGS
from corpus.files import FILES
from corpus.lakes import LAKES
from corpus.models import MODELS
from corpus.rows import DAYS, ITEMS, ROWS

__all__ = ["CORPUS", "ITEMS", "ROWS"]

CORPUS: list[Bad] = [*FILES, *DAYS, *CATALOGUES, *CONFIGS, *MODELS, *COMMANDS, *LAKES]
"""Each takes a command of its own; `ROWS` and `ITEMS` share one day."""
