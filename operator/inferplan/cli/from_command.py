"""``inferplan plan --from-command``: a copied vLLM command as a scenario, and what is to be said about it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import yaml

from inferplan.accuracy.settings import default_limits
from inferplan.api.command_faults import in_flags
from inferplan.api.command_line import WHERE
from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.api.from_command import FromCommand, from_command
from inferplan.api.suggest import did_you_mean
from inferplan.cli.inputs import Asked, plan_all
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.plan import Outcome
from inferplan.domain.reasons import ReasonCode
from inferplan.render.flag_list import flags_of
from inferplan.report.command import verdict
from inferplan.report.outline import Report

ENGINE = "vllm"
OWN_MACHINES = (
    "no price is known for this GPU: planned on machines of your own, and only their electricity is counted; write what"
    " yours cost into hardware.owned, or a price into a price book"
)
_ELECTRICITY = "the price is the electricity alone"


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """A command as a scenario, its plan, and how it does with as many users as it takes at once."""

    asked: Asked
    outcome: Outcome
    crowded: Outcome | None
    notes: tuple[str, ...]
    text: str
    """The scenario as YAML."""

    def report(self, found: Report) -> Report:
        """Put what is to be said about the command before the report of its plan."""
        unpriced = OWN_MACHINES in self.notes
        said = verdict(self.outcome, self.crowded, self.notes, electricity_only=unpriced)
        headline = f"{found.headline}; {_ELECTRICITY}" if unpriced and self.outcome.chosen else found.headline
        return replace(found, headline=headline, sections=(said, *found.sections))


def read_command(command: str, gpu_name: str | None, catalog: Catalog) -> FromCommand:
    """Read a command that starts vLLM on a GPU.

    Raises
    ------
    InputError
        With everything that is wrong with the command, or if no GPU is named.
    """
    engine = catalog.engine(ENGINE)
    gpu = _gpu(gpu_name, catalog)
    if engine is None:
        raise InputError([Fault(WHERE, "the catalog has no vLLM")])
    return from_command(
        command,
        catalog,
        flags_of(engine),
        gpu,
        default_sequences=round(default_limits(engine, gpu)[0]),
    )


def answer_command(command: str, gpu_name: str | None, catalog: Catalog, nodes: Inventory | None) -> CommandAnswer:
    """Read a command, plan it, and plan it once more under the load that fills its batch limit.

    Raises
    ------
    InputError
        As :func:`read_command`, or with what is wrong with the scenario that it comes to.
    """
    found = read_command(command, gpu_name, catalog)
    asked, text = as_scenario(found.document, catalog)
    (outcome,) = plan_all([asked], catalog, nodes)
    notes = found.notes
    if outcome.infeasibility is not None and ReasonCode.NO_OFFERING in outcome.infeasibility.binding:
        found, notes = _on_own_machines(found), (*notes, OWN_MACHINES)
        asked, text = as_scenario(found.document, catalog)
        (outcome,) = plan_all([asked], catalog, nodes)
    if found.longest_wanted and outcome.chosen is not None:
        longest = outcome.chosen.estimate.memory.longest_context_tokens
        notes = (*notes, f"--max-model-len auto: the longest that fits, {longest:,} tokens")
        asked, text = as_scenario(_with_length(found, longest), catalog)
        (outcome,) = plan_all([asked], catalog, nodes)
    _refuse_other_split(found.split, outcome)
    return CommandAnswer(asked, outcome, _crowded(asked, outcome, catalog, nodes), notes, text)


def _refuse_other_split(split: tuple[int, int], outcome: Outcome) -> None:
    """Refuse to judge a command by a plan that splits a replica another way."""
    chosen = None if outcome.chosen is None else outcome.chosen.configuration
    if chosen is None or (chosen.tp_size, chosen.pp_size) == split:
        return
    tensor, pipeline = split
    problem = (
        f"--tensor-parallel-size {tensor} --pipeline-parallel-size {pipeline}: only tensor parallel {chosen.tp_size} x"
        f" pipeline parallel {chosen.pp_size} can be planned for so many {chosen.gpu.name}"
    )
    fix = f"write --tensor-parallel-size {chosen.tp_size} --pipeline-parallel-size {chosen.pp_size}"
    raise InputError([Fault(WHERE, problem, fix)])


def _gpu(name: str | None, catalog: Catalog) -> GpuSpec:
    if name is None:
        fix = "name it: --gpu l4, --gpu h100-80gb-sxm, …; `inferplan catalog list gpus` lists all"
        raise InputError([Fault("--gpu", "a vLLM command does not say on which GPU it runs", fix)])
    gpu = catalog.gpu(name)
    if gpu is None:
        known = [label for one in catalog.gpus for label in (one.id, one.name, *one.aliases)]
        raise InputError([Fault("--gpu", f'unknown GPU "{name}"', did_you_mean(name, known))])
    return gpu


def as_scenario(document: dict[str, Any], catalog: Catalog) -> tuple[Asked, str]:
    """Read a resource document as if it stood in a file, and give its text.

    Raises
    ------
    InputError
        With what is wrong, by the flags that say it.
    """
    text = yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)
    try:
        (scenario,) = read_scenarios(text, WHERE).scenarios
        return Asked(scenario, to_scenario(scenario.resource, catalog, scenario.locate)), text
    except InputError as error:
        raise InputError(map(in_flags, error.faults)) from error


def _on_own_machines(found: FromCommand) -> FromCommand:
    """The same on machines that are there already, each with the GPUs of one replica."""
    document = copy.deepcopy(found.document)
    pin = document["spec"]["select"]["pin"]
    pool = {
        "name": "own",
        "gpu": pin["gpu"],
        "gpusPerNode": pin["gpusPerReplica"],
        "nodes": pin["replicas"],
        "purchaseUsdPerNode": "0",
    }
    document["spec"]["hardware"] = {"source": "Owned", "owned": [pool]}
    return replace(found, document=document)


def _with_length(found: FromCommand, length: int) -> dict[str, Any]:
    document = copy.deepcopy(found.document)
    document["spec"]["select"]["pin"]["maxModelLen"] = length
    return document


def _crowded(asked: Asked, outcome: Outcome, catalog: Catalog, nodes: Inventory | None) -> Outcome | None:
    """Plan the same for as many users as run at once; None where nothing runs."""
    plan = outcome.chosen
    if plan is None:
        return None
    scenario = asked.resolved.scenario
    slots = max(1, min(plan.configuration.max_num_seqs, plan.estimate.memory.sequences_held))
    users = slots * plan.configuration.replicas
    crowd = replace(scenario, workload=replace(scenario.workload, concurrent_users=users), growth_factors=())
    crowded = replace(asked, resolved=replace(asked.resolved, scenario=crowd))
    return plan_all([crowded], catalog, nodes)[0]
