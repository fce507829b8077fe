"""A scenario of the domain -> the resource that says the same, with nothing left to presets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from inferplan.api.figures import decimal_text
from inferplan.api.pins import engine_name, from_pin
from inferplan.api.v1alpha1 import API_VERSION, KIND, InferenceScenario
from inferplan.api.v1alpha1.serving import RemoteCode
from inferplan.domain.hardware import OwnedPool
from inferplan.domain.model import LayerKind, ModelSpec, Task
from inferplan.domain.operation import Toleration
from inferplan.domain.scenario import CustomModel, Lengths, LoadKind, Scenario, Workload
from inferplan.domain.units import SECONDS_PER_MINUTE, milliseconds


def to_resource(scenario: Scenario) -> InferenceScenario:
    """Write a scenario as a resource; reading it again gives the same scenario.

    What planning does not read (deploy but for its tolerations, autoscaling, replan) is left out.
    """
    spec: dict[str, Any] = {
        "useCase": scenario.use_case.value,
        "task": scenario.task.value,
        "workload": _workload(scenario.workload, scenario.task),
        "slo": _slo(scenario),
        "contextTokens": scenario.context_tokens,
        "quality": _quality(scenario),
        "model": _model(scenario),
        "hardware": _hardware(scenario),
        "budget": _budget(scenario),
        "engine": _engine(scenario),
        "deploy": _deploy(scenario.hardware.tolerations),
        "select": {"tier": scenario.tier.value} if scenario.pin is None else {"pin": from_pin(scenario.pin)},
        "growth": {"factors": list(scenario.growth_factors)},
        "headroomPercent": scenario.headroom_percent,
    }
    return InferenceScenario.model_validate(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": scenario.name}, "spec": spec}
    )


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != []}


def _amount(value: float | Decimal | None) -> str | None:
    return None if value is None else decimal_text(value if isinstance(value, Decimal) else Decimal(repr(value)))


def _lengths(lengths: Lengths) -> dict[str, int]:
    return {"mean": lengths.mean, "p95": lengths.p95}


def _workload(load: Workload, task: Task) -> dict[str, Any]:
    closed, offline = load.kind is LoadKind.CLOSED_LOOP, load.kind is LoadKind.OFFLINE
    schedule = load.schedule
    return _present(
        {
            "concurrentUsers": load.concurrent_users,
            "thinkTimeSeconds": round(load.think_time_s) if closed else None,
            "requestsPerSecond": _amount(load.request_rate_rps),
            "burstiness": None if offline else _amount(load.burstiness),
            "items": load.items,
            "deadlineMinutes": None if load.deadline_s is None else round(load.deadline_s / SECONDS_PER_MINUTE),
            "schedule": None
            if schedule is None
            else _present(
                {
                    "cron": schedule.cron,
                    "timeZone": schedule.time_zone,
                    "windowMinutes": schedule.window_minutes,
                }
            ),
            "promptTokens": _lengths(load.prompt),
            "outputTokens": None if task is Task.CLASSIFICATION else _lengths(load.output),
            "sharedPrefixTokens": load.shared_prefix_tokens,
        }
    )


def _slo(scenario: Scenario) -> dict[str, Any]:
    slo = scenario.slo
    targets = {
        "timeToFirstTokenMilliseconds": slo.ttft_s,
        "timePerOutputTokenMilliseconds": slo.tpot_s,
        "requestLatencyMilliseconds": slo.e2e_latency_s,
    }
    written = {name: None if value is None else round(milliseconds(value)) for name, value in targets.items()}
    return _present({"percentile": f"P{slo.percentile}", **written})


def _quality(scenario: Scenario) -> dict[str, Any]:
    quality, minimum = scenario.quality, scenario.quality.level
    if minimum is None and quality.metric is not None and quality.minimum is not None:
        minimum = f"{quality.metric}: {decimal_text(quality.minimum)}"
    formats = None if quality.quantizations is None else [item.value for item in quality.quantizations]
    return _present({"minimum": minimum, "quantization": _present({"allow": formats, "lossy": quality.lossy.value})})


def _model(scenario: Scenario) -> dict[str, Any]:
    policy = scenario.model
    return _present(
        {
            "allow": None if policy.allow is None else list(policy.allow),
            "deny": list(policy.deny),
            "licenses": None if policy.licenses is None else list(policy.licenses),
            "custom": None if policy.custom is None else _custom(policy.custom),
        }
    )


def _custom(custom: CustomModel) -> dict[str, Any]:
    return _present(
        {
            "repository": custom.repository,
            "revision": custom.revision,
            "base": custom.base,
            "architecture": None if custom.architecture is None else _architecture(custom.architecture),
            "task": custom.task.value,
            "quantization": None if custom.quantization is None else custom.quantization.value,
        }
    )


def _architecture(model: ModelSpec) -> dict[str, Any]:
    layers, moe = model.attention[0], model.moe
    return _present(
        {
            "name": model.architecture,
            "parametersTotal": model.params_total,
            "parametersActive": model.params_active,
            "layers": model.layers,
            "hiddenSize": model.hidden_size,
            "attentionHeads": model.attention_heads,
            "kvHeads": model.kv_heads,
            "headDim": model.head_dim,
            "intermediateSize": model.intermediate_size,
            "vocabularySize": model.vocab_size,
            "maximumPositions": model.max_position_embeddings,
            "tiedEmbeddings": model.tie_word_embeddings,
            "slidingWindowTokens": layers.window_tokens if layers.kind is LayerKind.SLIDING else None,
            "computeType": model.native_dtype.value,
            "experts": None
            if moe is None
            else {
                "experts": moe.experts,
                "expertsPerToken": moe.experts_per_token,
                "expertIntermediateSize": moe.expert_intermediate_size,
                "layers": moe.layers,
                "sharedExperts": moe.shared_experts,
                "sharedIntermediateSize": moe.shared_intermediate_size,
            },
        }
    )


def _hardware(scenario: Scenario) -> dict[str, Any]:
    policy = scenario.hardware
    return _present(
        {
            "source": policy.source.value,
            "allow": None if policy.allow is None else list(policy.allow),
            "deny": list(policy.deny),
            "maximumGpus": policy.maximum_gpus,
            "capacityTypes": [terms.value for terms in policy.terms],
            "markets": list(policy.markets),
            "providers": None if policy.providers is None else list(policy.providers),
            "regions": None if policy.regions is None else list(policy.regions),
            "owned": [_owned(pool) for pool in policy.owned],
        }
    )


def _owned(pool: OwnedPool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "gpu": pool.gpu,
        "gpusPerNode": pool.gpus_per_node,
        "nodes": pool.nodes,
        "purchaseUsdPerNode": _amount(pool.purchase_usd_per_node),
        "lifeYears": _amount(pool.life_years),
        "powerWattsPerNode": pool.power_w_per_node,
        "pue": _amount(pool.pue),
        "usdPerKilowattHour": _amount(pool.usd_per_kwh),
        "maintenancePercentPerYear": int(pool.maintenance_percent_per_year),
        "residualPercent": int(pool.residual_percent),
        "otherUsdPerMonth": _amount(pool.other_usd_per_month),
    }


def _budget(scenario: Scenario) -> dict[str, Any]:
    budget = scenario.budget
    return _present(
        {
            "maximumUsdPerHour": _amount(budget.maximum_usd_per_hour),
            "maximumUsdPerMonth": _amount(budget.maximum_usd_per_month),
            "maximumUsdPerRequest": _amount(budget.maximum_usd_per_request),
            "enforcement": budget.enforcement.value,
        }
    )


def _engine(scenario: Scenario) -> dict[str, Any]:
    engine = scenario.engine
    return _present(
        {
            "allow": [engine_name(name).value for name in engine.allow],
            "version": engine.version,
            "image": engine.image,
            "extraArgs": list(engine.extra_args),
            "remoteCode": RemoteCode.ALLOW.value if engine.remote_code else None,
        }
    )


def _deploy(tolerations: tuple[Toleration, ...]) -> dict[str, Any]:
    if not tolerations:
        return {}
    rows = [
        _present({"key": item.key, "operator": item.operator.value, "value": item.value, "effect": item.effect})
        for item in tolerations
    ]
    return {"podTemplate": {"tolerations": rows}}
