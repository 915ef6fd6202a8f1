"""A small portal for tests: its first day, and a pipelines.yaml that reads its logs."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

FIRST_DAY = date(2026, 3, 2)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(3)]


def write_config(
    folder: Path, logs: Path, *, home: Path | None = None, **changes: dict[str, Any]
) -> Path:
    """A pipelines.yaml in `folder` with the pipeline `portal` on `logs`; sections are updated.

    Args:
        home: what its home begins with: the fixture `warm_home`, where a cold start says nothing.
    """
    if home is not None:
        shutil.copytree(home, folder / ".dayspring")
    pipeline: dict[str, dict[str, Any]] = {
        "source": {
            "format": "jsonl",
            "interactions": f"{logs}/interactions/{{date}}/*.json.gz",
            "items": f"{logs}/items/{{date}}.json.gz",
        },
        "schedule": {"cron": "30 4 * * *"},
        "retrain": {"any": [{"rule": "always"}]},
        "finetune": {"shots": 512, "window_days": 3, "head_epochs": 8, "adapter_epochs": 0},
        "promote": {
            "min_gain": 0.0,
            "false_promotions_a_year": 100,
            "min_impressions": 30,
            # What so few impressions cannot show, and what depends on how busy the machine is.
            "guardrails": {"slices": None, "calibration": None, "latency": None},
        },
    }
    for section, values in changes.items():
        pipeline[section] = {**pipeline.get(section, {}), **values}
    path = folder / "pipelines.yaml"
    path.write_text(yaml.safe_dump({"pipelines": {"portal": pipeline}}))
    return path
