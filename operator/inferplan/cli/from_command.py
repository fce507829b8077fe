"""``inferplan plan --from-command``: a copied vLLM command as a scenario, and what is to be said about it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import yaml

from inferplan.accuracy.model_names import ModelNames, cut
from inferplan.accuracy.settings import default_limits
from inferplan.accuracy.weight_formats import method_of
from inferplan.api.command_line import WHERE
from inferplan.api.command_models import FoundModel
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
_NOT_READ = {"bnb": "bitsandbytes", "gguf": "GGUF"}
"""Weight formats that vLLM has dropped (bitsandbytes after 0.25.1, GGUF after 0.22.1)."""


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
        return replace(found, sections=(verdict(self.outcome, self.crowded, self.notes), *found.sections))


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
        by_name=lambda name: _by_name(name, catalog),
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
    return CommandAnswer(asked, outcome, _crowded(asked, outcome, catalog, nodes), notes, text)


def _gpu(name: str | None, catalog: Catalog) -> GpuSpec:
    if name is None:
        fix = "name it: --gpu l4, --gpu h100-80gb-sxm, …; `inferplan catalog list gpus` lists all"
        raise InputError([Fault("--gpu", "a vLLM command does not say on which GPU it runs", fix)])
    gpu = catalog.gpu(name)
    if gpu is None:
        known = [label for one in catalog.gpus for label in (one.id, one.name, *one.aliases)]
        raise InputError([Fault("--gpu", f'unknown GPU "{name}"', did_you_mean(name, known))])
    return gpu


def _by_name(name: str, catalog: Catalog) -> FoundModel | str:
    """Find the model and the format that the words of a name mean."""
    dropped = [_NOT_READ[word] for word in cut(name).formats if word in _NOT_READ]
    if dropped:
        return f"{name} holds {dropped[0]} weights, which this version of vLLM does not read"
    model = ModelNames(catalog.models).find(name)
    if isinstance(model, str):
        return model
    method = method_of(catalog, model, name, "")
    return method if isinstance(method, str) else FoundModel(model, method.quantization)


def as_scenario(document: dict[str, Any], catalog: Catalog) -> tuple[Asked, str]:
    """Read a resource document as if it stood in a file, and give its text."""
    text = yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)
    (scenario,) = read_scenarios(text, WHERE).scenarios
    return Asked(scenario, to_scenario(scenario.resource, catalog, scenario.locate)), text


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
