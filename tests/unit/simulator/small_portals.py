"""Small portals, and readers of what they wrote."""

import gzip
import json
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np

from tasks.simulator.settings import SimulatorSettings
from tasks.simulator.simulate import worlds

MONDAY = date(2026, 3, 2)
SMALL = {
    "num_users": 60,
    "impressions_per_day": 300,
    "slate_size": 5,
    "topics": 4,
    "births_per_day": 40,
}


def small(**changed):
    return SimulatorSettings(**SMALL | changed)


def world_of(settings, number):
    return next(islice(worlds(settings, MONDAY), number - 1, None))


def gzip_lines(path):
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def read_lines(folder):
    """Every line of a day's files, with the hour of its file."""
    return [
        (int(path.name[:2]), line)
        for path in sorted(Path(folder).glob("*.json.gz"))
        for line in gzip_lines(path)
    ]


def parsed(line):
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def bytes_below(folder):
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def shares_of(values):
    names, counts = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), counts / counts.sum(), strict=True))
