"""A section of pipelines.yaml as an operator would write it: what stands by default is left out."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import yaml

from tasks.config_faults import tag_of
from tasks.config_finetune import Finetune


def finetune_yaml(settings: Finetune) -> str:
    """The section `finetune` with these settings; reading it gives them again."""
    block = {"shots": settings.shots, **_written(settings, Finetune(shots=settings.shots))}
    return yaml.safe_dump({"finetune": block}, sort_keys=False, allow_unicode=True)


def _written(block: Any, default: Any) -> dict[str, Any]:
    """The keys of a dataclass block that differ from those of `default`."""
    told: dict[str, Any] = {}
    for field in fields(block):
        value, standing = getattr(block, field.name), getattr(default, field.name, MISSING)
        if value == standing:
            continue
        if is_dataclass(value):
            told[field.name] = _chosen(value, standing)
        else:
            told[field.name] = list(value) if isinstance(value, tuple) else value
    return told


def _chosen(block: Any, standing: Any) -> dict[str, Any]:
    """A block that may be of one of several kinds: then the key that says which comes first."""
    tag = tag_of(type(block))
    if tag is None:
        return _written(block, standing)
    return {tag[0]: tag[1]} | _written(block, type(block)())
