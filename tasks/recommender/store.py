"""A ranker on disk: adapter and head as safetensors, the base by name and checksum.

    ranker.json        base (name, revision, SHA-256), tuning, digests of the rest; of a ranker of
                       texts also its settings, template and worked examples
    head.safetensors   about 30 KB; up to 1.2 MB where there is an item prior
    adapter.safetensors  what was trained of the network, only if that was kept: a few hundred KB,
                       or 4 bytes a weight where whole layers were (14 MB for two of MiniLM)
    statistics.parquet   optional: what `save_statistics` adds for serving

Nothing here is a pickle, and nothing in a folder is run. Format 1 had another head, which cannot be
read as this one.
"""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tasks.errors import ModelError
from tasks.recommender.base import Base, load_base
from tasks.recommender.encoder import Encoder
from tasks.recommender.hybrid import HybridRanker, new_head
from tasks.recommender.protocol import Ranker
from tasks.recommender.rankers.ranker import TextRanker
from tasks.recommender.rankers.text_store import describe_texts, restore_texts
from tasks.recommender.recipe import Tuning
from tasks.recommender.selection import State

FORMAT = 2
KINDS = ("hybrid", "cross_encoder", "prompt")
RANKER, HEAD, ADAPTER = "ranker.json", "head.safetensors", "adapter.safetensors"


def save_ranker(ranker: Ranker, folder: Path) -> str:
    """Write `ranker` to `folder` (made if missing).

    Returns:
        The ranker's digest.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    kind, described, head, adapter = _parts(ranker)
    save_file({name: value.cpu().contiguous() for name, value in head.items()}, folder / HEAD)
    files = [HEAD]
    if adapter is not None:
        save_file(adapter, folder / ADAPTER)
        files.append(ADAPTER)
    base = ranker.base
    config = {
        "format": FORMAT,
        "ranker": kind,
        "digest": ranker.digest,
        "base": {"name": base.name, "revision": base.revision, "sha256": base.sha256},
        **described,
        "files": {name: _sha256(folder / name) for name in files},
    }
    (folder / RANKER).write_text(json.dumps(config, indent=2) + "\n")
    return ranker.digest


def load_ranker(folder: Path, *, device: str = "auto", precision: str = "auto") -> Ranker:
    """Read a ranker that `save_ranker` wrote, with the base that it was trained on.

    Raises:
        ModelError: a file is missing or altered, or the base is not the same.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _read_config(folder)
    for name, published in config["files"].items():
        _check_file(folder / name, published)
    base = load_base(
        config["base"]["name"],
        device=device,
        precision=precision,
        expected_sha256=config["base"]["sha256"],
    )
    try:
        head = load_file(folder / HEAD)
        adapter = load_file(folder / ADAPTER) if ADAPTER in config["files"] else None
        return _assemble(base, config, head, adapter)
    except (KeyError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder} does not fit this version's ranker: {error}. "
            "Retrain, or install the version that wrote it."
        ) from error


def _parts(ranker: Ranker) -> tuple[str, dict[str, Any], State, State | None]:
    """Kind, description, tensors of the head, and what was trained of the network."""
    if isinstance(ranker, TextRanker):
        weights = None if ranker.weights is None else ranker.weights.state
        kind = ranker.task.settings.kind
        return kind, describe_texts(ranker), ranker.readout.state_dict(), weights
    assert isinstance(ranker, HybridRanker)
    described = {"adapter": asdict(ranker.encoder.tuning)}
    return "hybrid", described, _compact(ranker.head.state_dict()), ranker.encoder.adapter


def _compact(head: State) -> State:
    """The same numbers in fewer bytes: landmarks come from a cache of half precision.

    As floats they would take a version of a log with dislikes over 3 MB.
    """
    landmarks = head["landmarks"]
    half = landmarks.half()
    return {**head, "landmarks": half} if bool((half == landmarks).all()) else head


def _assemble(base: Base, config: dict[str, Any], head: State, adapter: State | None) -> Ranker:
    if config["ranker"] != "hybrid":
        return restore_texts(base, config["ranker"], config, head, adapter)
    ranker = HybridRanker(Encoder(base), new_head(seed=0))
    ranker.head.load_state_dict(head)
    if adapter is not None:
        ranker.encoder.set_adapter(adapter, _tuning(config))
    return ranker


def saved_kind(folder: Path) -> str:
    """Which kind of ranker `folder` holds.

    Raises:
        ModelError: it holds none that this version reads.
    """
    return str(_read_config(folder)["ranker"])


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / RANKER
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        found = config["format"], config["ranker"]
        needed = config["files"][HEAD], config["base"]["name"], config["base"]["sha256"]
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} has no {RANKER}, so it is no saved ranker. "
            "Download the version again from the registry."
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} is damaged: {error!r}. Download the version again from the registry."
        ) from error
    if found[0] != FORMAT or found[1] not in KINDS or not all(needed):
        raise ModelError(
            f"{path} is of format {found[0]} for a {found[1]} ranker; this version reads format "
            f"{FORMAT} for {', '.join(KINDS)}. "
            "Retrain, or install the version that wrote it."
        )
    return config


def _tuning(config: dict[str, Any]) -> Tuning:
    """The adapter's method and knobs.

    Raises:
        TypeError, ValueError: it names knobs that this version does not have.
    """
    read: Tuning = TypeAdapter(Tuning).validate_python(config["adapter"])
    return read


def _check_file(path: Path, published: str) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing. Download the version again from the registry.")
    if _sha256(path) != published:
        raise ModelError(
            f"{path} was altered after it was saved: its SHA-256 is {_sha256(path)}, not "
            f"{published}. Download the version again from the registry."
        )


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
