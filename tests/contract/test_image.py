"""The image is made of what is locked and needed, and nothing else; it is read here, not built."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
IGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_the_base_is_pinned_by_tag_and_new_enough() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\d+)\.(\d+)\.\d+-slim-[a-z]+$", DOCKERFILE, re.MULTILINE)
    lowest = tuple(int(part) for part in PYPROJECT["project"]["requires-python"].removeprefix(">=").split("."))
    assert tuple(map(int, version)) >= lowest
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:${PYTHON}"] * 2


def test_it_runs_as_a_numbered_user_who_is_not_root() -> None:
    final = DOCKERFILE.rpartition("FROM ")[2]
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["65532:65532"]
    deployment = (ROOT / "charts/inferplan/templates/deployment.yaml").read_text(encoding="utf-8")
    assert "runAsUser: 65532\n" in deployment


def test_what_installs_is_what_the_makefile_installs_with() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"uv=={version}" in DOCKERFILE


def test_every_installation_is_checked_against_the_locks_hashes() -> None:
    installs = re.findall(r"uv pip install (.+)$", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 3
    for words in installs:
        assert "--require-hashes" in words or "--no-index" in words, words


def test_the_build_sees_what_the_wheel_needs_and_nothing_else() -> None:
    assert IGNORE[1] == "*"
    seen = {line[1:] for line in IGNORE if line.startswith("!")}
    project = PYPROJECT["project"]
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "uv.lock", project["readme"], *project["license-files"], *wheel["force-include"]}
    needed |= {package.partition("/")[0] for package in wheel["packages"]}
    assert seen == needed


def test_it_starts_a_program_of_the_package() -> None:
    (entry,) = re.findall(r'^ENTRYPOINT \["([^"]+)"\]$', DOCKERFILE, re.MULTILINE)
    assert entry in PYPROJECT["project"]["scripts"]
