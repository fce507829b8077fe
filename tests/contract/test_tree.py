"""The shape of the tree that a newcomer may rely on."""

from __future__ import annotations

import ast
import operator
import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

import inferplan

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "operator"
PACKAGE = SOURCE / "inferplan"
MODULES = sorted(PACKAGE.rglob("*.py"))

SHADOWING_NAMES = {"operator", "types", "select", "queue", "statistics", "platform", "secrets"}
EMPTY_WORDS = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}
LONGEST_MODULE_LINES = 500

# What a dependency is imported as, where that is not its name.
IMPORT_NAMES = {"prometheus-client": "prometheus_client", "pyyaml": "yaml"}


def top_level_imports(module: Path) -> set[str]:
    """Name the top-level packages that a module imports, wherever in the module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide the direction; write the full name"
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_source_folder_is_not_a_package() -> None:
    assert [path.name for path in SOURCE.iterdir() if path.suffix == ".py"] == []


def test_standing_in_the_checkout_operator_is_still_the_standard_library() -> None:
    assert operator.add(1, 2) == 3
    program = "import operator; print(operator.__file__)"
    # Without PYTHONPATH, Python puts the working folder first, as for anyone who types `python` here.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert not Path(answer.stdout.strip()).is_relative_to(ROOT / "operator")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_named_for_one_thing_and_shadows_nothing(module: Path) -> None:
    names = set(module.relative_to(PACKAGE).with_suffix("").parts)
    assert not names & SHADOWING_NAMES
    words = {word for name in names for word in name.split("_")}
    assert not words & EMPTY_WORDS


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_no_longer_than_the_limit(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE_LINES


def test_every_folder_with_code_is_a_package() -> None:
    folders = {module.parent for module in MODULES}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_domain_needs_only_the_standard_library() -> None:
    allowed = sys.stdlib_module_names | {"inferplan"}
    for module in sorted((PACKAGE / "domain").rglob("*.py")):
        assert top_level_imports(module) <= allowed, module


def test_what_the_package_imports_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    declared = {re.split(r"[^a-z0-9_-]", line.lower())[0] for line in (*project["dependencies"], *extras)}
    importable = {IMPORT_NAMES.get(name, name) for name in declared}
    imported = set().union(*(top_level_imports(module) for module in MODULES))
    assert imported - sys.stdlib_module_names - {"inferplan"} <= importable


def test_the_layers_leave_out_no_package_that_may_not_see_the_cluster() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    cluster = next(contract for contract in linter["contracts"] if contract["id"] == "cluster")
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    expected = {f"inferplan.{name}" for name in (modules | packages) - {"__init__", "kube"}}
    assert expected <= set(cluster["source_modules"])


def test_the_lock_names_only_public_addresses() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([^/\"]+)", lock))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_the_bootstrapped_uv_is_the_locked_one() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = next(package["version"] for package in lock["package"] if package["name"] == "uv")
    assert f"UV_VERSION := {locked}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_decisions_are_numbered_without_gaps_and_dated() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [int(path.name.partition("-")[0]) for path in decisions]
    assert numbers[0] == 1
    assert all(after == before + 1 for before, after in pairwise(numbers))
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert re.search(r"^Date: \d{4}-\d{2}-\d{2}$", text, re.MULTILINE), path.name


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", inferplan.__version__)
