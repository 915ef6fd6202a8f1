"""Item embeddings on disk, by content: a text is encoded once, whatever the day or the pipeline.

A cache is a folder of Arrow files, one for each append, written whole and then renamed: a process
killed at any moment leaves a readable cache. Files are merged as they grow many, and the oldest
vectors are forgotten beyond MAX_VECTORS.
"""

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from shutil import rmtree
from typing import Protocol
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MAX_VECTORS = 1_000_000
"""About 0.8 GB at 384 numbers; a text that was forgotten is encoded again."""
MAX_FILES = 32
"""More appends than this are merged into one file."""
MAX_ENCODERS = 4
"""Caches of so many encoders (base with adapter) are kept, those used last."""
ENCODED_AT_ONCE = 4096
"""Texts between two appends: what a kill may lose."""

KEY = pa.binary(16)


class TextEncoder(Protocol):
    """What turns texts into vectors, and the name of all that decides them."""

    @property
    def digest(self) -> str:
        """Equal digests give equal vectors."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, D) vectors of B texts."""


def embed(encoder: TextEncoder, texts: Sequence[str], folder: Path) -> NDArray[np.float32]:
    """(B, D) vectors of `texts`, from the cache under `folder` where they are known.

    Texts may repeat. Vectors are kept, and so returned, at half precision, so that a text has the
    same vector whether it was just encoded or read.
    """
    own = folder / encoder.digest
    wanted = _keys(texts)
    distinct = wanted.unique()
    keys, vectors = _read(own)
    unknown = pc.indices_nonzero(pc.invert(pc.is_in(distinct, keys))).to_numpy()
    if len(unknown):
        first = pc.index_in(distinct, wanted).to_numpy()
        for start in range(0, len(unknown), ENCODED_AT_ONCE):
            part = unknown[start : start + ENCODED_AT_ONCE]
            fresh = encoder.encode([texts[row] for row in first[part]]).astype(np.float16)
            _append(own, distinct.take(pa.array(part)), fresh)
        forget_encoders(folder)
        keys, vectors = _read(own)
    elif own.is_dir():
        os.utime(own)
    return vectors[pc.index_in(wanted, keys).to_numpy()].astype(np.float32)


def forget_encoders(folder: Path) -> None:
    """Delete the caches of encoders beyond the MAX_ENCODERS used last."""
    used = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: -p.stat().st_mtime)
    for stale in used[MAX_ENCODERS:]:
        rmtree(stale, ignore_errors=True)


def _keys(texts: Sequence[str]) -> pa.Array:
    return pa.array([blake2b(text.encode(), digest_size=16).digest() for text in texts], KEY)


def _read(folder: Path) -> tuple[pa.Array, NDArray[np.float16]]:
    """All keys and vectors, oldest file first."""
    for _ in range(8):
        try:
            return _concatenate([_read_file(path) for path in _files(folder)])
        except FileNotFoundError:  # another process has just merged the files: look again
            continue
    return _concatenate([])


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrow"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def _read_file(path: Path) -> tuple[pa.Array, NDArray[np.float16]]:
    with pa.memory_map(str(path)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    key, vector = batch.column("key"), batch.column("vector")
    width = vector.type.byte_width // 2
    flat = np.frombuffer(vector.buffers()[1], np.float16, len(vector) * width)
    return key, flat.reshape(len(vector), width)


def _concatenate(
    parts: list[tuple[pa.Array, NDArray[np.float16]]],
) -> tuple[pa.Array, NDArray[np.float16]]:
    if not parts:
        return pa.array([], KEY), np.empty((0, 0), np.float16)
    if len(parts) == 1:
        return parts[0]
    return pa.concat_arrays([key for key, _ in parts]), np.concatenate([v for _, v in parts])


def _append(folder: Path, keys: pa.Array, vectors: NDArray[np.float16]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    known = _files(folder)
    _write(folder, keys, vectors)
    if len(known) >= MAX_FILES:
        merged_keys, merged = _read(folder)
        # Two processes may have encoded one text; one copy is enough.
        first = pc.index_in(merged_keys.unique(), merged_keys).to_numpy()[-MAX_VECTORS:]
        older = _files(folder)
        _write(folder, merged_keys.take(pa.array(first)), merged[first])
        for path in older:
            path.unlink(missing_ok=True)


def _write(folder: Path, keys: pa.Array, vectors: NDArray[np.float16]) -> None:
    values = np.ascontiguousarray(vectors)
    vector = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(values.shape[1] * 2), len(values), [None, pa.py_buffer(values)]
    )
    batch = pa.record_batch([keys, vector], names=["key", "vector"])
    name = uuid4().hex
    unfinished = folder / f"{name}.unfinished"
    with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    unfinished.replace(folder / f"{name}.arrow")
