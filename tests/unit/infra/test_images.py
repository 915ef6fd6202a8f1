"""The Dockerfiles, by a linter and by what they copy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from unit.infra.descriptions import INFRA

ROOT = INFRA.parent
IMAGES = [INFRA / "images" / f"{name}.Dockerfile" for name in ("cpu", "gpu")]


def _lint(path: Path) -> subprocess.CompletedProcess[str]:
    hadolint = Path(sys.executable).parent / "hadolint"
    return subprocess.run([hadolint, path], capture_output=True, text=True)


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_the_linter_finds_nothing(image: Path) -> None:
    found = _lint(image)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_linter_finds_an_image_without_a_version(tmp_path: Path) -> None:
    broken = tmp_path / "broken.Dockerfile"
    broken.write_text(IMAGES[0].read_text().replace(":3.11.14-slim-bookworm", ""))
    assert "DL3006" in _lint(broken).stdout


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_not_ignored(image: Path) -> None:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", image.read_text(), re.M)
    copied = [source for line in lines for source in line.split()]
    assert len(copied) == 7
    ignored = image.with_name(f"{image.name}.dockerignore").read_text().splitlines()
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_the_image_runs_as_a_numbered_user_and_installs_what_was_locked(image: Path) -> None:
    text = image.read_text()
    assert re.findall(r"^USER (.+)$", text, re.M) == ["10001:10001"]
    assert len(set(re.findall(r"^FROM (\S+)", text, re.M))) == 1
    torch = re.search(r"^torch==.+$", (ROOT / "requirements.lock").read_text(), re.M)
    assert torch and f"-c requirements.lock {torch.group()}" in text
