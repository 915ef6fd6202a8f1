"""PostgreSQL's programs, its tables' folder, and the databases that the servers keep in it.

PostgreSQL refuses to run as root. As root it runs as an unprivileged user, whose folder must be
one that this user can reach.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

from infra.local.errors import StackError
from infra.local.ports import HOST

DATABASES = ("prefect", "mlflow")
USER = "dayspring"

_UNPRIVILEGED = ("postgres", "nobody")
_DEBIAN = Path("/usr/lib/postgresql")


def find_programs() -> Path:
    """The folder of PostgreSQL's server programs; Debian's package is installed where we may.

    Raises:
        StackError: there are none, with the command that installs them.
    """
    return _installed() or _install()


def _installed() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    # Debian keeps the server's programs off PATH, in a folder for each major version.
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parents[1].name))
    return versions[-1].parent if versions else None


def _install() -> Path:
    next_step = (
        "Install PostgreSQL's server: apt-get install postgresql (or your system's package)."
    )
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise StackError(f"initdb is neither on PATH nor under {_DEBIAN}/*/bin. {next_step}")
    for step in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
        done = subprocess.run(
            ["apt-get", "-qq", *step],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StackError(f"apt-get {step[0]} failed: {done.stderr.strip()[-500:]}. {next_step}")
    programs = _installed()
    if programs is None:
        raise StackError(f"Debian's package brought no initdb under {_DEBIAN}. {next_step}")
    return programs


def runs_as() -> tuple[int, int] | None:
    """User and group id that PostgreSQL has to run as; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError(
        f"PostgreSQL does not run as root, and none of the users {', '.join(_UNPRIVILEGED)} exists. "
        "Add one: adduser --system postgres."
    )


def choose_folder(stack: Path) -> Path:
    """Where the tables shall live: in the stack's folder if PostgreSQL's user can get there."""
    if runs_as() is None or _anyone_reaches(stack):
        return stack / "postgres"
    # A name that nobody can have made before us, in a folder where anybody may.
    return Path("/var/tmp") / f"dayspring-{secrets.token_hex(12)}" / "postgres"  # noqa: S108


def _anyone_reaches(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def create_cluster(programs: Path, folder: Path, password: str) -> None:
    """Make the cluster in `folder` unless it is there; a half-made one is made anew."""
    if (folder / "PG_VERSION").exists():
        return
    user = runs_as()
    folder.parent.mkdir(mode=0o711, exist_ok=True)  # to pass through, not to look around
    unfinished = folder.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password_file = unfinished.with_name("postgres.password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if user:
        os.chown(unfinished, *user)
        os.chown(password_file, *user)
    try:
        _initdb(programs, unfinished, password_file, user)
    finally:
        password_file.unlink()
    unfinished.rename(folder)


def _initdb(
    programs: Path, folder: Path, password_file: Path, user: tuple[int, int] | None
) -> None:
    command = [str(programs / "initdb"), "-D", str(folder), "-U", USER, "--encoding=UTF8"]
    command += ["--locale=C", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"]
    uid, gid = user or (None, None)
    done = subprocess.run(
        command,
        cwd=folder,
        user=uid,
        group=gid,
        extra_groups=None if user is None else [],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StackError(f"initdb failed: {done.stderr.strip()[-500:]}. Look at {folder}.")


def serves_databases(port: int, password: str) -> bool:
    """Whether the server takes connections; its databases that are missing are made."""
    import psycopg2

    try:
        connection = psycopg2.connect(
            host=HOST, port=port, user=USER, password=password, dbname="postgres", connect_timeout=5
        )
    except psycopg2.OperationalError:
        return False
    connection.autocommit = True  # CREATE DATABASE refuses to run in a transaction
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        existing = {name for (name,) in cursor.fetchall()}
        for name in DATABASES:
            if name not in existing:
                cursor.execute(f"CREATE DATABASE {name}")
    return True
