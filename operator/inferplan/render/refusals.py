"""What keeps manifests from being written, known as soon as there is a scenario, or a plan for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inferplan.domain.cluster import Inventory
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.errors import Fault, UnrenderableError
from inferplan.domain.flags import Command
from inferplan.domain.model import Task
from inferplan.domain.operation import BatchFiles, Deploy
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.domain.units import GIB
from inferplan.render.batch import batch_run, is_batch
from inferplan.render.command import command_line
from inferplan.render.extra_args import extra_arguments
from inferplan.render.flag_list import flags_of
from inferplan.render.placing import plan_nodes
from inferplan.render.room import Room, offloaded_bytes, room
from inferplan.render.timing import timing

_SOME_FILES = BatchFiles("items", "in.jsonl", "out.jsonl")
"""Stand in where nobody has said yet where the items are: no flag depends on them but the two that name them."""


def spec_faults(scenario: Scenario, engines: Iterable[EngineSpec]) -> tuple[Fault, ...]:
    """What no plan of a scenario could be rendered with: an engine's version, arguments that are not the user's.

    Parameters
    ----------
    engines
        Engines that a plan may come to, in the version asked for.
    """
    faults: list[Fault] = []
    classifies = scenario.task is Task.CLASSIFICATION
    command = Command.BATCH if is_batch(scenario) and not classifies else Command.SERVER
    for engine in engines:
        try:
            known = flags_of(engine)
        except UnrenderableError as error:
            faults.extend(error.faults)
            continue
        words, remote_code = scenario.engine.extra_args, scenario.engine.remote_code
        faults.extend(extra_arguments(words, known, remote_code=remote_code, command=command)[1])
    return tuple(dict.fromkeys(faults))


def plan_faults(plan: Plan, scenario: Scenario, inventory: Inventory | None = None) -> tuple[Fault, ...]:
    """What a plan, once made, cannot be started with.

    Parameters
    ----------
    inventory
        The nodes that the plan was made for.
    """
    times = timing(plan)
    batch = batch_run(plan, scenario, _SOME_FILES, times) if is_batch(scenario) else None
    _, of_command = command_line(plan, scenario, times, flags_of(plan.configuration.engine), batch)
    return (*limit_faults(plan, scenario, room(plan, plan_nodes(plan, inventory))), *of_command)


def missing_to_deploy(scenario: Scenario, deploy: Deploy) -> Iterator[Fault]:
    """Yield what a scenario has to say before any plan for it can be deployed; planning needs none of it."""
    if is_batch(scenario) and deploy.batch is None:
        yield Fault(
            "spec.deploy.batch",
            "a batch run needs to know where its items are",
            "name a volume: batch: {volumeRef: {name: items}}",
        )


def limit_faults(plan: Plan, scenario: Scenario, needed: Room) -> Iterator[Fault]:
    """Yield limits that exclude each other, what the engine cannot run, and memory that the machines do not have."""
    chosen = plan.configuration
    if is_batch(scenario) and chosen.engine.id != "vllm":
        yield Fault("spec.engine.allow", f"{chosen.engine.name} has no batch runner", "allow vLLM")
    tokens = chosen.max_num_batched_tokens
    if chosen.engine.id == "vllm" and chosen.max_num_seqs > tokens:
        yield Fault(
            "spec.select.pin.maxNumSeqs",
            f"each sequence needs one token per step, so {chosen.max_num_seqs} do not fit in {tokens}, and"
            f" {chosen.engine.name} refuses that",
            f"pin at most {tokens}, or raise spec.select.pin.maxNumBatchedTokens",
        )
    offloaded, limit = offloaded_bytes(chosen), needed.offload_limit_bytes
    if offloaded and limit is not None and offloaded > limit:
        name = "cpuOffloadGib" if chosen.engine.cpu_offload_bytes else "kvOffloadGib"
        yield Fault(
            f"spec.select.pin.{name}",
            f"a replica offloads {offloaded / GIB:.0f} GiB to its machine, and only {max(limit, 0) / GIB:.0f} GiB of"
            f" the machine's memory belongs to {chosen.gpus_per_replica} {chosen.gpu.name}",
            "offload less, or allow machines with more memory",
        )
