"""Templates and flag lists belong to the engines of the catalog, version by version."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from inferplan._assets import asset_folder
from inferplan.api.schema import spec_schema
from inferplan.catalog import load_catalog
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.flags import Command, Owner
from inferplan.domain.model import QuantizationMethod
from inferplan.render import flags
from inferplan.render.extra_args import WHY_NOT
from inferplan.render.flag_list import FILE_NAME, read_flag_list, template_folder

TEMPLATES = asset_folder("templates")
CATALOG = load_catalog()
FOLDERS = sorted(path.parent for path in TEMPLATES.rglob(FILE_NAME))

# Flags that old posts name and these versions do not have (vLLM's own removals).
GONE = ["--task", "--swap-space", "--device", "--num-scheduler-steps", "--speculative-model", "--worker-use-ray"]


def names(folder: Path) -> str:
    return str(folder.relative_to(TEMPLATES))


@pytest.mark.parametrize("engine", CATALOG.engines, ids=lambda engine: str(engine.id))
def test_every_engine_of_the_catalog_can_be_rendered(engine: EngineSpec) -> None:
    folder = template_folder(engine)
    known = read_flag_list(folder)
    assert (known.engine, known.version) == (engine.id, engine.version)
    assert (folder / "deployment.yaml.j2").is_file()


@pytest.mark.parametrize("engine", CATALOG.engines, ids=lambda engine: str(engine.id))
def test_images_are_pinned_to_the_version(engine: EngineSpec) -> None:
    assert engine.image.rpartition(":")[2].removeprefix("v") == engine.version


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
def test_a_flag_list_names_its_source_and_only_what_it_lists(folder: Path) -> None:
    document = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    assert set(document["source"]) == {"title", "url", "retrieved", "licence"}
    assert set(document["owned"]) == set(Owner)
    owned = [name for group in document["owned"].values() for name in group]
    assert len(owned) == len(set(owned))
    assert set(owned) <= set(document["flags"])
    assert list(document["flags"]) == sorted(document["flags"])


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
def test_every_flag_is_judged_either_the_users_or_refused_with_a_reason(folder: Path) -> None:
    """A flag of a new version fails here until somebody has read what it does."""
    document = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    judged = [*document["users"]["flags"], *(name for group in document["owned"].values() for name in group)]
    assert sorted(judged) == sorted(document["flags"])
    assert set(document.get("harmless", {})) <= set(document["owned"]["code"])
    assert set(WHY_NOT) | {Owner.PLAN} == set(Owner)


NAMES_OF_WHAT_REACHES_OUTSIDE = re.compile(r"path|dir$|file|url|endpoint|addr|host|plugin|-cls$|-config$|kwargs|token$")


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
def test_a_flag_named_after_a_path_an_address_or_code_is_the_users_only_where_it_was_looked_at(folder: Path) -> None:
    users = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))["users"]["flags"]
    looked_at = {
        "--default-chat-template-kwargs",  # variables of the template, which is sandboxed
        "--enable-tokenizer-info-endpoint",  # one that the server answers
        "--override-generation-config",  # sampling parameters
        "--reasoning-config",  # the words around a thought
    }
    assert {name for name in users if NAMES_OF_WHAT_REACHES_OUTSIDE.search(name)} <= looked_at


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
def test_every_flag_that_the_plan_decides_has_its_place_in_the_scenario(folder: Path) -> None:
    document = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    assert set(document["instead"]) == set(document["owned"]["plan"])
    assert set(document.get("removed", {})).isdisjoint(document["flags"])
    named = {path for text in document["instead"].values() for path in re.findall(r"spec\.[A-Za-z.]+", text)}
    assert named
    for path in sorted(named):
        schema: dict[str, Any] = spec_schema()
        for part in path.rstrip(".").split(".")[1:]:
            schema = schema["properties"][part]


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
def test_flags_that_are_gone_are_not_known(folder: Path) -> None:
    known = read_flag_list(folder)
    assert [name for name in GONE if known.find(name)] == []


ENGINE_OF = {"vllm_engine_flags": "vllm", "vllm_server_flags": "vllm", "vllm_local_flags": "vllm"}
ENGINE_OF |= {"vllm_batch_flags": "vllm", "_vllm_start": "vllm", "tgi_flags": "tgi"}
COMMANDS_OF = {
    "vllm_engine_flags": {Command.SERVER, Command.BATCH},
    "_vllm_start": {Command.SERVER, Command.BATCH},
    "vllm_server_flags": {Command.SERVER},
    "vllm_local_flags": {Command.SERVER},
    "vllm_batch_flags": {Command.BATCH},
    "tgi_flags": {Command.SERVER},
}


@pytest.mark.parametrize("maker", ENGINE_OF)
def test_every_flag_that_we_can_render_is_in_the_list_of_its_version(maker: str) -> None:
    """Read from the source, so that a flag behind a rare condition is checked as well."""
    written = re.findall(r'Argument\(\s*"(--[a-z-]+)"', inspect.getsource(getattr(flags, maker)))
    assert written
    (folder,) = [folder for folder in FOLDERS if folder.parent.name == ENGINE_OF[maker]]
    known = read_flag_list(folder)
    for name in written:
        assert name in known.flags, name
        assert COMMANDS_OF[maker] <= set(known.flags[name].commands), name


def test_no_flag_is_rendered_outside_those_makers() -> None:
    makers = {name for name, _ in inspect.getmembers(flags, inspect.isgeneratorfunction)}
    assert makers == set(ENGINE_OF)


@pytest.mark.parametrize("method", CATALOG.methods, ids=lambda method: str(method.id))
def test_a_weight_format_that_is_named_to_an_engine_is_one_of_its_own(method: QuantizationMethod) -> None:
    if method.flag is None:
        return
    for folder in FOLDERS:
        if folder.parent.name in method.engines:
            name = {"vllm": "--quantization", "tgi": "--quantize"}[folder.parent.name]
            assert read_flag_list(folder).flags[name].problem(method.flag) == "", folder


def test_templates_write_values_only_through_the_json_filter() -> None:
    """A value that is not written as JSON could break out of its place."""
    for path in sorted(TEMPLATES.rglob("*.j2")):
        for written in re.findall(r"\{\{(.*?)\}\}", path.read_text(encoding="utf-8"), re.DOTALL):
            last = written.split("|")[-1].strip()
            number = re.fullmatch(r"\s*(c|batch)\.[a-z_.]*(_s|failures|replicas|shards|retries|port)\s*", written)
            macro = re.match(r"\s*(object|pod|vllm|run)\.[a-z_]+\(", written) or re.match(r"\s*share\(", written)
            constant = written.strip().startswith('"Indexed" if ')
            assert last == "json" or number or macro or constant, (path.name, written)
