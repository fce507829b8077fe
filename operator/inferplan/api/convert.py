"""The resource as users write it -> the scenario as the planner reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from inferplan.api.checks import contradictions
from inferplan.api.custom_model import custom_model
from inferplan.api.names import Names
from inferplan.api.operation import to_tolerations
from inferplan.api.pin_checks import possible_engines
from inferplan.api.pins import to_pin
from inferplan.api.resolve import Resolved, resolve
from inferplan.api.v1alpha1 import InferenceScenario, InferenceScenarioSpec
from inferplan.api.v1alpha1 import hardware as written_hardware
from inferplan.api.v1alpha1 import workload as written_workload
from inferplan.api.v1alpha1.serving import RemoteCode
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import InputError
from inferplan.domain.hardware import OwnedPool
from inferplan.domain.model import Task
from inferplan.domain.scenario import (
    Budget,
    EnginePolicy,
    HardwarePolicy,
    Lengths,
    LoadKind,
    Lossy,
    ModelPolicy,
    QualityPolicy,
    Scenario,
    Schedule,
    Slo,
    Tier,
    Workload,
)
from inferplan.domain.units import SECONDS_PER_MINUTE, seconds_from_milliseconds

NOTHING = Lengths(0, 0)


@dataclass(frozen=True, slots=True)
class ResolvedScenario:
    """A scenario for the planner, and where each of its values comes from."""

    scenario: Scenario
    resolved: tuple[Resolved, ...]


def _plain(path: str) -> str:
    return path


def to_scenario(
    resource: InferenceScenario, catalog: Catalog, locate: Callable[[str], str] = _plain
) -> ResolvedScenario:
    """Turn a resource into a scenario: preset applied, names looked up, contradictions refused.

    Parameters
    ----------
    resource
        As the user wrote it.
    catalog
        Presets, models, GPUs and offerings.
    locate
        Turns a path (``spec.slo.percentile``) into the place that a fault names, usually
        :meth:`~inferplan.api.documents.ScenarioDocument.locate`.

    Raises
    ------
    InputError
        With every contradiction and every unknown name.
    CatalogError
        If a preset of the catalog says something impossible.
    """
    complete = resolve(resource.spec, catalog)
    spec = complete.spec
    names = Names(catalog, locate)
    for found in contradictions(spec):
        names.fault(found.path, found.problem, found.fix)
    model = _model_policy(spec, names, catalog)
    hardware = _hardware(spec, names, catalog)
    quality = _quality(spec, names)
    pin = to_pin(spec, names, catalog)
    if names.faults:
        raise InputError(names.faults)
    task = spec.task or Task.GENERATION
    scenario = Scenario(
        name=resource.metadata.name,
        use_case=spec.use_case,
        task=task,
        workload=_workload(spec.workload),
        slo=_slo(spec.slo),
        context_tokens=spec.context_tokens or 1,
        quality=quality,
        model=model,
        hardware=hardware,
        budget=Budget(
            maximum_usd_per_hour=_decimal(spec.budget.maximum_usd_per_hour),
            maximum_usd_per_month=_decimal(spec.budget.maximum_usd_per_month),
            maximum_usd_per_request=_decimal(spec.budget.maximum_usd_per_request),
            enforcement=spec.budget.enforcement,
        ),
        engine=EnginePolicy(
            allow=tuple(dict.fromkeys(name.value.casefold() for name in spec.engine.allow)),
            version=spec.engine.version,
            image=spec.engine.image,
            extra_args=spec.engine.extra_args or (),
            remote_code=spec.engine.remote_code is RemoteCode.ALLOW,
        ),
        tier=spec.select.tier or Tier.RECOMMENDED,
        pin=pin,
        growth_factors=tuple(sorted(set(spec.growth.factors))),
        headroom_percent=spec.headroom_percent,
    )
    return ResolvedScenario(scenario, complete.rows)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _seconds(value_ms: int | None) -> float | None:
    return None if value_ms is None else seconds_from_milliseconds(value_ms)


def _slo(slo: written_workload.Slo) -> Slo:
    return Slo(
        percentile=(slo.percentile or written_workload.Percentile.P95).number,
        ttft_s=_seconds(slo.time_to_first_token_milliseconds),
        tpot_s=_seconds(slo.time_per_output_token_milliseconds),
        e2e_latency_s=_seconds(slo.request_latency_milliseconds),
    )


def _lengths(written: written_workload.TokenLengths | written_workload.OutputLengths | None) -> Lengths:
    return NOTHING if written is None else Lengths(written.mean, written.p95)


def _workload(load: written_workload.Workload) -> Workload:
    if load.items is not None:
        kind = LoadKind.OFFLINE
    elif load.requests_per_second is not None:
        kind = LoadKind.OPEN_LOOP
    else:
        kind = LoadKind.CLOSED_LOOP
    schedule = None
    if load.schedule is not None:
        schedule = Schedule(load.schedule.cron, load.schedule.time_zone, load.schedule.window_minutes)
    return Workload(
        kind=kind,
        prompt=_lengths(load.prompt_tokens),
        output=_lengths(load.output_tokens),
        shared_prefix_tokens=load.shared_prefix_tokens or 0,
        concurrent_users=load.concurrent_users,
        think_time_s=float(load.think_time_seconds or 0),
        request_rate_rps=None if load.requests_per_second is None else float(load.requests_per_second),
        burstiness=1.0 if load.burstiness is None else float(load.burstiness),
        items=load.items,
        deadline_s=None if load.deadline_minutes is None else float(load.deadline_minutes * SECONDS_PER_MINUTE),
        schedule=schedule,
    )


def _quality(spec: InferenceScenarioSpec, names: Names) -> QualityPolicy:
    written, path = spec.quality, "spec.quality.minimum"
    level, metric, minimum = None, None, None
    if written.minimum is not None and ":" in written.minimum:
        benchmark, score = written.minimum.split(":")
        metric, minimum = names.benchmark(path, benchmark.strip()), Decimal(score.strip())
    elif written.minimum is not None:
        found = names.level(path, written.minimum)
        if found is not None:
            level, metric, minimum = found.name, found.metric, found.minimum
    return QualityPolicy(
        level=level,
        metric=metric,
        minimum=minimum,
        quantizations=written.quantization.allow,
        lossy=written.quantization.lossy or Lossy.ALLOW,
    )


def _model_policy(spec: InferenceScenarioSpec, names: Names, catalog: Catalog) -> ModelPolicy:
    written = spec.model
    allow = names.model_patterns("spec.model.allow", written.allow)
    deny = names.model_patterns("spec.model.deny", written.deny) or ()
    for name in sorted(set(allow or ()) & set(deny)):
        names.fault("spec.model.deny", f'"{name}" is both allowed and denied')
    custom = None
    if written.custom is not None:
        wanted = {engine.value.casefold() for engine in possible_engines(spec)}
        engines = [engine for engine in catalog.engines if engine.id in wanted]
        custom = custom_model(written.custom, spec.task or Task.GENERATION, names, engines)
    return ModelPolicy(allow=allow, deny=deny, licenses=written.licenses, custom=custom)


def _hardware(spec: InferenceScenarioSpec, names: Names, catalog: Catalog) -> HardwarePolicy:
    written = spec.hardware
    allow = names.gpus("spec.hardware.allow", written.allow)
    deny = names.gpus("spec.hardware.deny", written.deny) or ()
    for gpu in sorted(set(allow or ()) & set(deny)):
        names.fault("spec.hardware.deny", f'"{gpu}" is both allowed and denied')
    providers = {offering.provider for offering in catalog.offerings}
    regions = {offering.region for offering in catalog.offerings}
    return HardwarePolicy(
        source=written.source,
        allow=allow,
        deny=deny,
        maximum_gpus=written.maximum_gpus,
        terms=tuple(dict.fromkeys(written.capacity_types)),
        markets=tuple(dict.fromkeys(market.value for market in written.markets)),
        providers=names.one_of("spec.hardware.providers", "provider", written.providers, sorted(providers)),
        regions=names.one_of("spec.hardware.regions", "region", written.regions, sorted(regions)),
        owned=tuple(
            _owned(pool, f"spec.hardware.owned[{index}]", names) for index, pool in enumerate(written.owned or ())
        ),
        tolerations=to_tolerations(spec.deploy.pod_template),
    )


def _owned(pool: written_hardware.OwnedPool, path: str, names: Names) -> OwnedPool:
    gpu = names.gpu(f"{path}.gpu", pool.gpu)
    watts = pool.power_watts_per_node
    return OwnedPool(
        name=pool.name,
        gpu=gpu,
        gpus_per_node=pool.gpus_per_node,
        nodes=pool.nodes,
        purchase_usd_per_node=Decimal(pool.purchase_usd_per_node),
        life_years=Decimal(pool.life_years),
        power_w_per_node=names.server_watts(gpu, pool.gpus_per_node) if watts is None else watts,
        pue=Decimal(pool.pue),
        usd_per_kwh=Decimal(pool.usd_per_kilowatt_hour),
        maintenance_percent_per_year=Decimal(pool.maintenance_percent_per_year),
        residual_percent=Decimal(pool.residual_percent),
        other_usd_per_month=Decimal(pool.other_usd_per_month),
    )
