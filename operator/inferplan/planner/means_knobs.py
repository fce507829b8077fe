"""Knobs of the means: which models and engines, whose GPUs, how many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inferplan.domain.hardware import Terms
from inferplan.domain.plan import Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import HardwareSource, Scenario
from inferplan.planner.constraints import matches
from inferplan.planner.knob import Knob, Setting, listed

LARGEST_FLEET_GPUS = 2_048
"""How far the question "how many GPUs would do" is followed."""
_ENGINE_NAMES = {"vllm": "vLLM", "tgi": "TGI"}
"""Engines as the spec writes them."""


def model_knobs(scenario: Scenario) -> list[Knob]:
    """Which models and licences may be chosen."""
    policy, found = scenario.model, []

    def fit_model(open_: Scenario, plan: Plan) -> Setting:
        used = plan.configuration.model.id
        wider = replace(open_.model, allow=None if policy.allow is None else (*policy.allow, used))
        return Setting(listed((*(policy.allow or ()), used)), replace(open_, model=wider), f"allow {used}")

    def fit_license(open_: Scenario, plan: Plan) -> Setting:
        used = plan.configuration.model.license
        licenses = (*(policy.licenses or ()), used)
        wider = replace(open_.model, licenses=licenses)
        return Setting(listed(licenses), replace(open_, model=wider), f"accept the {used} licence")

    if policy.allow is not None and policy.custom is None:
        dropped = replace(scenario, model=replace(policy, allow=None))
        found.append(
            Knob("model.allow", listed(policy.allow), dropped, "cost", fit_model, ReasonCode.MODEL_NOT_ALLOWED)
        )
    if policy.deny and policy.custom is None:

        def fit_deny(open_: Scenario, plan: Plan) -> Setting:
            used = plan.configuration.model
            narrower = tuple(pattern for pattern in policy.deny if not matches(used, pattern))
            changed = replace(open_, model=replace(open_.model, deny=narrower))
            return Setting(listed(narrower), changed, f"allow {used.id}")

        dropped = replace(scenario, model=replace(policy, deny=()))
        found.append(Knob("model.deny", listed(policy.deny), dropped, "cost", fit_deny, ReasonCode.MODEL_NOT_ALLOWED))
    if policy.licenses is not None:
        dropped = replace(scenario, model=replace(policy, licenses=None))
        found.append(
            Knob("model.licenses", listed(policy.licenses), dropped, "cost", fit_license, ReasonCode.LICENSE_DENIED)
        )
    return found


def engine_knobs(scenario: Scenario) -> list[Knob]:
    """Whether vLLM, which runs most, may be used as well."""
    allowed = scenario.engine.allow
    if "vllm" in allowed or (scenario.pin is not None and scenario.pin.engine is not None):
        return []
    names = tuple(_ENGINE_NAMES.get(engine, engine) for engine in allowed)
    wider = (*allowed, "vllm")
    dropped = replace(scenario, engine=replace(scenario.engine, allow=wider))
    to = listed((*names, _ENGINE_NAMES["vllm"]))
    return [Knob("engine.allow", listed(names), dropped, "cost", _keep(to, "vLLM"), ReasonCode.ENGINE_UNSUPPORTED)]


def hardware_knobs(scenario: Scenario) -> list[Knob]:
    """Whose GPUs, which, and how many."""
    policy = scenario.hardware

    def fit_gpu(open_: Scenario, plan: Plan) -> Setting:
        used = plan.configuration.gpu
        wider = None if policy.allow is None else (*policy.allow, used.id)
        narrower = tuple(gpu for gpu in policy.deny if gpu != used.id)
        changed = replace(open_, hardware=replace(open_.hardware, allow=wider, deny=narrower))
        to = listed(narrower) if wider is None else listed(wider)
        return Setting(to, changed, f"allow {used.name}")

    def fit_maximum(open_: Scenario, plan: Plan) -> Setting:
        gpus = plan.configuration.gpus
        changed = replace(open_, hardware=replace(open_.hardware, maximum_gpus=gpus))
        return Setting(str(gpus), changed, f"{gpus:,} GPUs")

    def dropped(**changes: Any) -> Scenario:
        return replace(scenario, hardware=replace(policy, **changes))

    def knob(field: str, current: str, open_: Scenario, fit: Callable[[Scenario, Plan], Setting]) -> Knob:
        reasons = {"allow": ReasonCode.GPU_NOT_ALLOWED, "deny": ReasonCode.GPU_NOT_ALLOWED}
        reason = ReasonCode.NO_INVENTORY if field == "source" else reasons.get(field, ReasonCode.NO_OFFERING)
        return Knob(f"hardware.{field}", current, open_, "cost", fit, reason)

    free = scenario.pin is None or scenario.pin.gpu is None
    fleet = dropped(maximum_gpus=LARGEST_FLEET_GPUS)
    elsewhere, anyone = dropped(regions=None), dropped(providers=None)
    spot, market = dropped(terms=(*policy.terms, Terms.SPOT)), dropped(source=HardwareSource.MARKET)
    offered = (
        (free and policy.allow is not None, knob("allow", listed(policy.allow or ()), dropped(allow=None), fit_gpu)),
        (free and bool(policy.deny), knob("deny", listed(policy.deny), dropped(deny=()), fit_gpu)),
        (
            policy.maximum_gpus < LARGEST_FLEET_GPUS,
            Knob(
                "hardware.maximumGpus",
                str(policy.maximum_gpus),
                fleet,
                "gpus",
                fit_maximum,
                ReasonCode.GPUS_OVER_MAXIMUM,
            ),
        ),
        (
            policy.regions is not None,
            knob("regions", listed(policy.regions or ()), elsewhere, _keep("(unset)", "any region")),
        ),
        (
            policy.providers is not None,
            knob("providers", listed(policy.providers or ()), anyone, _keep("(unset)", "any provider")),
        ),
        (
            Terms.SPOT not in policy.terms,
            knob(
                "capacityTypes",
                listed(policy.terms),
                spot,
                _keep(listed((*policy.terms, Terms.SPOT)), "spot machines"),
            ),
        ),
        (
            policy.source is not HardwareSource.MARKET,
            knob("source", str(policy.source), market, _keep("Market", "GPUs rented on the market")),
        ),
    )
    return [entry for applies, entry in offered if applies]


def _keep(to: str, words: str) -> Callable[[Scenario, Plan], Setting]:
    """Leave the requirement dropped: there is no value in between."""
    return lambda open_, _: Setting(to, open_, words)
