"""A ranker on disk: adapter and head as safetensors, the base by name and checksum.

    ranker.json        base (name, revision, SHA-256, precision), adapter shape, digests of the rest
    head.safetensors   a few KB
    adapter.safetensors  a few hundred KB; only if an adapter was kept
    statistics.parquet   optional: what `save_statistics` adds for serving

Nothing here is a pickle, and nothing in a folder is run.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from tasks.errors import ModelError
from tasks.recommender.base import load_base
from tasks.recommender.encoder import AdapterShape, Encoder, shape_json
from tasks.recommender.hybrid import HybridRanker, new_head

FORMAT = 1
RANKER, HEAD, ADAPTER = "ranker.json", "head.safetensors", "adapter.safetensors"


def save_ranker(ranker: HybridRanker, folder: Path) -> str:
    """Write `ranker` to `folder` (made if missing).

    Returns:
        The ranker's digest.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    head = {name: value.cpu().contiguous() for name, value in ranker.head.state_dict().items()}
    save_file(head, folder / HEAD)
    files = [HEAD]
    if ranker.encoder.adapter is not None:
        save_file(ranker.encoder.adapter, folder / ADAPTER)
        files.append(ADAPTER)
    base = ranker.encoder.base
    config = {
        "format": FORMAT,
        "ranker": "hybrid",
        "digest": ranker.digest,
        "base": {"name": base.name, "revision": base.revision, "sha256": base.sha256},
        "adapter": shape_json(ranker.encoder.shape),
        "files": {name: _sha256(folder / name) for name in files},
    }
    (folder / RANKER).write_text(json.dumps(config, indent=2) + "\n")
    return ranker.digest


def load_ranker(folder: Path, *, device: str = "auto", precision: str = "auto") -> HybridRanker:
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
    encoder, head = Encoder(base), new_head(seed=0)
    try:
        head.load_state_dict(load_file(folder / HEAD))
        if ADAPTER in config["files"]:
            encoder.set_adapter(load_file(folder / ADAPTER), AdapterShape(**config["adapter"]))
    except (RuntimeError, SafetensorError, TypeError) as error:
        raise ModelError(
            f"{folder} does not fit this version's ranker: {error}. "
            "Retrain, or install the version that wrote it."
        ) from error
    return HybridRanker(encoder, head)


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
    if found != (FORMAT, "hybrid") or not all(needed):
        raise ModelError(
            f"{path} is of format {found[0]} for a {found[1]} ranker; this version reads format "
            f"{FORMAT} for hybrid. Retrain, or install the version that wrote it."
        )
    return config


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
