"""Run the program that imports this with the project's virtual environment, if there is one.

Only what every Python brings is imported here: the program may have been started with another.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PYTHON = ROOT / ".venv" / "bin" / "python"

if _PYTHON.exists() and Path(sys.prefix).resolve() != _PYTHON.parents[1].resolve():
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])  # noqa: S606

sys.path.insert(0, str(ROOT))
