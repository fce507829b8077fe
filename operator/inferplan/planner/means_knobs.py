"""Knobs of the means: which models, whose GPUs, how many; and what a pin fixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inferplan.domain.hardware import Terms
from inferplan.domain.plan import Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import HardwareSource, Pin, Scenario
from inferplan.planner.knob import Knob, Setting, listed

LARGEST_FLEET_GPUS = 2_048
"""How far the question "how many GPUs would do" is followed."""
WHOLE_PIN = "select.pin"


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
    if policy.licenses is not None:
        dropped = replace(scenario, model=replace(policy, licenses=None))
        found.append(
            Knob("model.licenses", listed(policy.licenses), dropped, "cost", fit_license, ReasonCode.LICENSE_DENIED)
        )
    return found


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

    fleet = dropped(maximum_gpus=LARGEST_FLEET_GPUS)
    elsewhere, anyone = dropped(regions=None), dropped(providers=None)
    spot, market = dropped(terms=(*policy.terms, Terms.SPOT)), dropped(source=HardwareSource.MARKET)
    offered = (
        (policy.allow is not None, knob("allow", listed(policy.allow or ()), dropped(allow=None), fit_gpu)),
        (bool(policy.deny), knob("deny", listed(policy.deny), dropped(deny=()), fit_gpu)),
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


def pin_knobs(scenario: Scenario, pin: Pin) -> list[Knob]:
    """Every field of a pin, and the pin as a whole."""
    fields = (
        ("model", "model", lambda plan: plan.configuration.model.id),
        ("quantization", "quantization", lambda plan: plan.configuration.checkpoint.quantization),
        ("gpu", "gpu", lambda plan: plan.configuration.gpu.id),
        ("gpusPerReplica", "gpus_per_replica", lambda plan: plan.configuration.gpus_per_replica),
        ("replicas", "replicas", lambda plan: plan.configuration.replicas),
        ("maxNumSeqs", "max_num_seqs", lambda plan: plan.configuration.max_num_seqs),
    )
    found = []
    for path, attribute, read in fields:
        pinned = getattr(pin, attribute)
        if pinned is None:
            continue

        def fit(
            open_: Scenario,
            plan: Plan,
            path: str = path,
            attribute: str = attribute,
            read: Callable[[Plan], Any] = read,
        ) -> Setting:
            value = read(plan)
            again = replace(open_, pin=replace(open_.pin or Pin(), **{attribute: value}))
            return Setting(str(value), again, f"{path} {value}")

        dropped = replace(scenario, pin=replace(pin, **{attribute: None}))
        found.append(Knob(f"select.pin.{path}", str(pinned), dropped, "cost", fit))
    everything = replace(scenario, pin=None)
    found.append(Knob(WHOLE_PIN, "set", everything, "cost", lambda open_, _: Setting("(unset)", open_, "no pin")))
    return found
