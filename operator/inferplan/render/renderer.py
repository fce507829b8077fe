"""Plan -> manifests: templates filled in, read back and checked."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inferplan._assets import asset_folder
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import DefectError, Fault, UnrenderableError
from inferplan.domain.manifest import Manifest
from inferplan.domain.operation import Deploy
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.render.batch import BatchRun, batch_run, is_batch
from inferplan.render.checks import check
from inferplan.render.command import CommandLine, command_line
from inferplan.render.context import Context, make_context
from inferplan.render.flag_list import flags_of, template_folder
from inferplan.render.refusals import limit_faults, missing_to_deploy

SERVING = ("deployment", "service", "poddisruptionbudget")
"""Templates of a server, in the order in which its objects are applied."""
SHARED = "shared"
JOB = "Job"


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
    folder = template_folder(plan.configuration.engine)
    batch = None
    if is_batch(scenario) and deploy.batch is not None:
        batch = batch_run(plan, scenario, deploy.batch, context.timing)
    command, faults = command_line(plan, scenario, context.timing, flags_of(plan.configuration.engine), batch)
    faults = (
        *_refusals(context),
        *missing_to_deploy(scenario, deploy),
        *limit_faults(plan, scenario, context.room),
        *faults,
    )
    if faults:
        raise UnrenderableError(faults)
    found = tuple(_manifest(_template(folder, name), context, command, batch) for name in _templates(batch))
    for manifest in found:
        check(manifest, context)
    return found


def _templates(batch: BatchRun | None) -> tuple[str, ...]:
    """Templates of a plan's objects, in the order in which they are applied."""
    if batch is None:
        return SERVING
    return ("job" if batch.schedule is None else "cronjob",)


def _refusals(context: Context) -> Iterator[Fault]:
    chosen = context.chosen
    if chosen.pp_size > 1:
        yield Fault(
            "plan.pipelineParallel",
            f"a replica of {chosen.pp_size} x {chosen.tp_size} {chosen.gpu.name} spans nodes,"
            " and only replicas within one node can be deployed yet",
            "pin fewer gpusPerReplica, or allow a GPU with more memory",
        )


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


def _manifest(template: str, context: Context, command: CommandLine, batch: BatchRun | None) -> Manifest:
    text = _environment().get_template(template).render(c=context, command=command, batch=batch)
    body: Any = yaml.safe_load(text)
    if not isinstance(body, dict):
        message = f"{template} renders to no object"
        raise DefectError(message)
    metadata = body["metadata"]
    if body["kind"] == JOB:
        metadata["name"] = f"{metadata['name']}-{_digest(context, command, batch)}"
    return Manifest(body["apiVersion"], body["kind"], metadata.get("namespace"), metadata["name"], body)


def _digest(context: Context, command: CommandLine, batch: BatchRun | None) -> str:
    """Name what a Job runs: its pods cannot be changed once it is there, so another run is another Job.

    Where it may run is left out: a node that comes or goes does not make a run new.
    """
    parts = [context.plan.hash, context.image, *command.first, *command.words]
    if batch is not None:
        parts += [batch.files.claim, str(batch.shards)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
