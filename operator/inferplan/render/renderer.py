"""Plan -> manifests: templates filled in, read back and checked."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inferplan._assets import asset_folder
from inferplan.domain.cluster import Inventory
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.errors import DefectError, Fault, UnrenderableError
from inferplan.domain.manifest import Manifest
from inferplan.domain.operation import Deploy
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.render.checks import check
from inferplan.render.context import Context, make_context
from inferplan.render.flag_list import FlagList, read_flag_list
from inferplan.render.flags import Argument, extra_arguments, tgi_flags, vllm_server_flags

SERVING = ("deployment", "service", "poddisruptionbudget")
"""Templates of a server, in the order in which its objects are applied."""
SHARED = "shared"


def render(
    plan: Plan, deploy: Deploy, *, scenario: Scenario, inventory: Inventory | None = None
) -> tuple[Manifest, ...]:
    """Write the objects that put a plan to work.

    Parameters
    ----------
    plan
        What is to run.
    deploy
        How and in whose name; with a ``uid`` the objects belong to the scenario, without one they belong to nobody.
    scenario
        The scenario that the plan answers.
    inventory
        The nodes that the plan was made for; None for a plan on the market.

    Returns
    -------
    tuple of Manifest
        In the order in which they are applied; the same arguments give the same manifests.

    Raises
    ------
    UnrenderableError
        With every reason why this plan cannot be deployed as it is.
    """
    context = make_context(plan, deploy, scenario, inventory)
    folder = template_folder(plan.configuration.engine, scenario)
    words, faults = _words(context, flag_list(folder))
    faults = (*_refusals(context), *faults)
    if faults:
        raise UnrenderableError(faults)
    found = tuple(_manifest(_template(folder, name), context, words) for name in SERVING)
    for manifest in found:
        check(manifest, context)
    return found


def template_folder(engine: EngineSpec, scenario: Scenario) -> Path:
    """Find the folder with the templates and flags of an engine's version (``vllm/0.33.x``)."""
    version = scenario.engine.version or engine.version
    folder = asset_folder("templates") / engine.id / f"{'.'.join(version.split('.')[:2])}.x"
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in folder.parent.glob("*") if path.is_dir()))
        raise UnrenderableError(
            [Fault("spec.engine.version", f"there are no templates for {engine.name} {version}", f"known: {known}")]
        )
    return folder


@functools.cache
def flag_list(folder: Path) -> FlagList:
    """Read the flags of an engine's version, once."""
    return read_flag_list(folder)


def _refusals(context: Context) -> Iterator[Fault]:
    chosen = context.chosen
    if chosen.pp_size > 1:
        yield Fault(
            "plan.pipelineParallel",
            f"a replica of {chosen.pp_size} x {chosen.tp_size} {chosen.gpu.name} spans nodes,"
            " and only replicas within one node can be deployed yet",
            "pin fewer gpusPerReplica, or allow a GPU with more memory",
        )


def _words(context: Context, known: FlagList) -> tuple[tuple[str, ...], tuple[Fault, ...]]:
    """Words of the engine's command line, the user's own last, and what is wrong with those."""
    plan, scenario = context.plan, context.scenario
    own: list[Argument] = []
    first: tuple[str, ...] = ()
    if known.engine == "vllm":
        first = (context.chosen.checkpoint.repository,)
        own.extend(vllm_server_flags(plan, scenario, context.timing))
    else:
        own.extend(tgi_flags(plan, context.timing))
    extra, faults = extra_arguments(scenario.engine.extra_args, known, own, remote_code=scenario.engine.remote_code)
    return (*first, *(word for argument in (*own, *extra) for word in argument.words)), faults


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(asset_folder("templates")),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML, not HTML: every value passes the json filter
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["json"] = functools.partial(json.dumps, ensure_ascii=False)
    return environment


def _template(folder: Path, name: str) -> str:
    own = folder / f"{name}.yaml.j2"
    root = asset_folder("templates")
    return str(own.relative_to(root)) if own.exists() else f"{SHARED}/{name}.yaml.j2"


def _manifest(template: str, context: Context, words: tuple[str, ...]) -> Manifest:
    text = _environment().get_template(template).render(c=context, words=words)
    body: Any = yaml.safe_load(text)
    if not isinstance(body, dict):
        message = f"{template} renders to no object"
        raise DefectError(message)
    metadata = body["metadata"]
    return Manifest(body["apiVersion"], body["kind"], metadata.get("namespace"), metadata["name"], body)
