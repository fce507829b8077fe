"""Contradictions in a resolved spec: small pure checks in one ordered list; all of them always run.

The API server checks the same with CEL rules (see the models); these run offline as well, know the preset's
values, and say the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from inferplan.api.architecture_checks import architecture_fits
from inferplan.api.contradiction import Contradiction
from inferplan.api.deploy_checks import deploy_makes_sense
from inferplan.api.pin_checks import pin_makes_sense
from inferplan.api.schedule_checks import schedule_can_be_kept
from inferplan.api.v1alpha1.scalars import MAXIMUM_TOKENS
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.domain.model import Quantization, Task
from inferplan.domain.operation import Autoscaler
from inferplan.domain.scenario import HardwareSource

_PINNED = re.compile(r".+(:[^/:@]+|@sha256:[0-9a-f]{64})")

Check = Callable[[InferenceScenarioSpec], Iterator[Contradiction]]


def load_stated_once(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Exactly one of concurrentUsers, requestsPerSecond and items."""
    load = spec.workload
    stated = [
        name
        for name, value in (
            ("concurrentUsers", load.concurrent_users),
            ("requestsPerSecond", load.requests_per_second),
            ("items", load.items),
        )
        if value is not None
    ]
    if len(stated) > 1:
        yield Contradiction(
            f"spec.workload.{stated[-1]}",
            f"the load is stated more than once ({' and '.join(stated)})",
            "keep one of them",
        )
    if not stated:
        yield Contradiction(
            "spec.workload",
            f"useCase {spec.use_case} needs a load",
            "set concurrentUsers, requestsPerSecond, or items with deadlineMinutes",
        )
    if load.requests_per_second is not None and Decimal(load.requests_per_second) == 0:
        yield Contradiction("spec.workload.requestsPerSecond", "must be above zero")
    if load.think_time_seconds is not None and load.concurrent_users is None and stated:
        yield Contradiction("spec.workload.thinkTimeSeconds", "belongs to concurrentUsers", "leave it out")
    if load.burstiness is not None and load.items is not None:
        yield Contradiction("spec.workload.burstiness", "a batch run has no arrivals", "leave it out")


def batch_has_deadline(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Items, a deadline and a schedule belong together; latency targets do not belong to them."""
    load, slo = spec.workload, spec.slo
    if load.items is not None and load.deadline_minutes is None:
        yield Contradiction("spec.workload.items", "a batch run needs a deadline", "set spec.workload.deadlineMinutes")
    if load.items is None and (load.concurrent_users is not None or load.requests_per_second is not None):
        for name, value in (("deadlineMinutes", load.deadline_minutes), ("schedule", load.schedule)):
            if value is not None:
                yield Contradiction(f"spec.workload.{name}", "belongs to a batch run", "set items, or leave it out")
    if load.items is not None:
        for name, target in (
            ("timeToFirstTokenMilliseconds", slo.time_to_first_token_milliseconds),
            ("timePerOutputTokenMilliseconds", slo.time_per_output_token_milliseconds),
            ("requestLatencyMilliseconds", slo.request_latency_milliseconds),
        ):
            if target is not None:
                yield Contradiction(
                    f"spec.slo.{name}",
                    "a batch run has a deadline and no latency targets per request",
                    "leave it out",
                )


def lengths_known(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Prompt and (for generation) output lengths are there and make sense."""
    load = spec.workload
    for name, lengths in (("promptTokens", load.prompt_tokens), ("outputTokens", load.output_tokens)):
        if lengths is None:
            if name == "promptTokens" or spec.task is not Task.CLASSIFICATION:
                yield Contradiction(f"spec.workload.{name}", f"useCase {spec.use_case} needs it", "set mean and p95")
        elif lengths.p95 < lengths.mean:
            yield Contradiction(f"spec.workload.{name}.p95", f"{lengths.p95} is below the mean of {lengths.mean}")
    output = load.output_tokens
    if output is not None and spec.task is Task.CLASSIFICATION and output.p95 > 0:
        yield Contradiction(
            "spec.workload.outputTokens",
            "a classifier generates nothing",
            "leave it out, or set task: Generation",
        )
    if output is not None and spec.task is Task.GENERATION and output.mean < 1:
        yield Contradiction("spec.workload.outputTokens.mean", "generation needs at least 1 token of output")
    shared, prompt = load.shared_prefix_tokens, load.prompt_tokens
    if shared is not None and prompt is not None and shared > prompt.mean:
        yield Contradiction(
            "spec.workload.sharedPrefixTokens",
            f"{shared} exceed the mean prompt of {prompt.mean} tokens that they are part of",
        )


def context_holds_requests(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Prompt and output together fit contextTokens, and that fits the pinned maxModelLen."""
    load, context = spec.workload, spec.context_tokens
    prompt = load.prompt_tokens.p95 if load.prompt_tokens else 0
    output = load.output_tokens.p95 if load.output_tokens else 0
    longest = f"prompt p95 {prompt} + output p95 {output} = {prompt + output} tokens"
    if prompt + output > MAXIMUM_TOKENS:
        longer = "promptTokens" if prompt >= output else "outputTokens"
        yield Contradiction(
            f"spec.workload.{longer}.p95",
            f"{longest} are more than the {MAXIMUM_TOKENS} of any context",
            "shorten them",
        )
        return
    pinned = spec.select.pin.max_model_len if spec.select.pin else None
    if pinned is not None and prompt + output > pinned:
        yield Contradiction(
            "spec.select.pin.maxModelLen",
            f"{longest} do not fit {pinned}",
            "raise it, or shorten the lengths",
        )
    elif context is not None and prompt + output > context:
        yield Contradiction("spec.contextTokens", f"{longest} do not fit {context}", f"set at least {prompt + output}")
    if pinned is not None and context is not None and context > pinned:
        yield Contradiction("spec.contextTokens", f"{context} exceed the pinned maxModelLen of {pinned}")


def one_choice(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Refuse a tier beside a pin."""
    if spec.select.tier is not None and spec.select.pin is not None:
        yield Contradiction(
            "spec.select.pin", "a pinned configuration has no tier", "keep either select.tier or select.pin"
        )


def custom_model_fits(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Check that a custom model is described once, and that pin and task agree with it."""
    custom, pin = spec.model.custom, spec.select.pin
    if custom is None:
        return
    if (custom.base is None) == (custom.architecture is None):
        yield Contradiction(
            "spec.model.custom",
            "needs either base or architecture",
            "base names a catalog model yours came from",
        )
    for name, value in (("allow", spec.model.allow), ("deny", spec.model.deny)):
        if value:
            yield Contradiction(f"spec.model.{name}", "custom already names the one model", "leave it out")
    if custom.task is not None and spec.task is not None and custom.task is not spec.task:
        yield Contradiction("spec.model.custom.task", f"{custom.task} contradicts task: {spec.task}")
    stored = custom.quantization
    if pin is not None and pin.quantization is not None and stored is not pin.quantization:
        sixteen_bit = {Quantization.FP16, Quantization.BF16}
        if not (stored is None and pin.quantization in sixteen_bit):
            yield Contradiction(
                "spec.select.pin.quantization",
                f"{pin.quantization} is not the format of the custom model ({stored or '16 bit'})",
                "make them equal",
            )
    if custom.architecture is not None:
        yield from architecture_fits(spec)


def owned_pools_make_sense(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Owned hardware is described where it is asked for, each pool once."""
    hardware = spec.hardware
    if hardware.source is HardwareSource.OWNED and not hardware.owned:
        yield Contradiction("spec.hardware.owned", "source Owned needs at least one pool", "describe your machines")
    seen: set[str] = set()
    for index, pool in enumerate(hardware.owned or ()):
        if pool.name in seen:
            yield Contradiction(f"spec.hardware.owned[{index}].name", f'"{pool.name}" stands twice')
        seen.add(pool.name)


def replicas_make_sense(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Refuse autoscalers, none of which is written yet, and more replicas at least than at most."""
    if spec.autoscaling.type is not Autoscaler.NONE:
        yield Contradiction(
            "spec.autoscaling.type",
            f"no {spec.autoscaling.type} is written yet",
            "leave it out; spec.select.pin.replicas sets the number",
        )
    low, high = spec.autoscaling.min_replicas, spec.autoscaling.max_replicas
    if low is not None and high is not None and low > high:
        yield Contradiction("spec.autoscaling.minReplicas", f"{low} exceeds maxReplicas of {high}")


def engine_details_fit_one_engine(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Version, image and arguments are an engine's own, and an image stays what it is."""
    engine = spec.engine
    if engine.image is not None and (not _PINNED.fullmatch(engine.image) or engine.image.endswith(":latest")):
        yield Contradiction(
            "spec.engine.image", f"{engine.image} may be another image tomorrow", "name a tag or a digest"
        )
    if len(set(engine.allow)) > 1:
        for name, value in (("version", engine.version), ("image", engine.image), ("extraArgs", engine.extra_args)):
            if value is not None:
                yield Contradiction(f"spec.engine.{name}", "belongs to one engine", "allow only that one")


CHECKS: tuple[Check, ...] = (
    load_stated_once,
    batch_has_deadline,
    schedule_can_be_kept,
    lengths_known,
    context_holds_requests,
    one_choice,
    pin_makes_sense,
    custom_model_fits,
    owned_pools_make_sense,
    replicas_make_sense,
    engine_details_fit_one_engine,
    deploy_makes_sense,
)
"""Every check, in the order in which faults are reported."""


def contradictions(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Yield everything that contradicts itself in a resolved spec."""
    for check in CHECKS:
        yield from check(spec)
