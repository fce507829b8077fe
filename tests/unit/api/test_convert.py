"""From the resource to the scenario: presets, names, and every contradiction at once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferplan.api.convert import ResolvedScenario, to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.api.resolve import Resolved
from inferplan.api.v1alpha1.status import Origin
from inferplan.catalog import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import CatalogError, InputError
from inferplan.domain.hardware import Terms
from inferplan.domain.model import AttentionLayers, Dtype, LayerKind, MixtureOfExperts, Quantization, Task
from inferplan.domain.scenario import (
    HardwareSource,
    Lengths,
    LoadKind,
    Pin,
    Preset,
    PresetValue,
    QualityPolicy,
    Schedule,
    Slo,
    Tier,
    UseCase,
    Workload,
)
from tests.builders import ELO
from tests.unit.api.catalogs import HEAD, make_api_catalog

LOAD = "workload: {concurrentUsers: 5, promptTokens: {mean: 100, p95: 200}, outputTokens: {mean: 10, p95: 20}}"


def converted(spec: str, catalog: Catalog | None = None) -> ResolvedScenario:
    document = read_scenarios(f"{HEAD}spec:\n  {spec}", "chat.yaml").scenarios[0]
    return to_scenario(document.resource, catalog or make_api_catalog(), document.locate)


def faults_of(spec: str, catalog: Catalog | None = None) -> list[str]:
    with pytest.raises(InputError) as caught:
        converted(spec, catalog)
    return [str(fault) for fault in caught.value.faults]


def spec_of(*lines: str) -> str:
    return "\n  ".join(lines)


def row(found: ResolvedScenario, field: str) -> Resolved:
    return next(row for row in found.resolved if row.field == field)


def test_the_preset_fills_in_everything() -> None:
    scenario = converted("useCase: Chatbot").scenario
    assert scenario.workload == Workload(
        kind=LoadKind.CLOSED_LOOP,
        prompt=Lengths(1000, 3000),
        output=Lengths(200, 600),
        concurrent_users=50,
        think_time_s=15.0,
    )
    assert scenario.slo == Slo(percentile=95, ttft_s=1.0, tpot_s=0.1)
    assert scenario.context_tokens == 4096
    assert scenario.quality == QualityPolicy(level="Good", metric=ELO, minimum=Decimal(1100))
    assert (scenario.tier, scenario.headroom_percent, scenario.growth_factors) == (Tier.RECOMMENDED, 25, (2, 5, 10))


def test_a_batch_preset_gives_a_classification_run() -> None:
    scenario = converted("useCase: BatchClassification").scenario
    assert scenario.task is Task.CLASSIFICATION
    assert scenario.workload.kind is LoadKind.OFFLINE
    assert (scenario.workload.items, scenario.workload.deadline_s) == (10_000, 3600.0)
    assert scenario.workload.output == Lengths(0, 0)
    assert scenario.slo == Slo()


def test_what_the_user_writes_wins_and_where_each_value_comes_from_is_told() -> None:
    found = converted(spec_of("useCase: Chatbot", "slo: {timeToFirstTokenMilliseconds: 300}"))
    assert found.scenario.slo == Slo(percentile=95, ttft_s=0.3, tpot_s=0.1)
    assert row(found, "slo.timeToFirstTokenMilliseconds") == Resolved(
        "slo.timeToFirstTokenMilliseconds", "300", Origin.SPEC
    )
    assert row(found, "contextTokens") == Resolved("contextTokens", "4096", Origin.PRESET, "2K to 4K")
    assert row(found, "hardware.source").origin is Origin.DEFAULT
    assert row(found, "useCase").origin is Origin.SPEC


def test_a_default_written_out_is_told_like_one_that_the_api_server_filled_in() -> None:
    bare = converted("useCase: Chatbot")
    written = converted(spec_of("useCase: Chatbot", "hardware: {source: Auto, maximumGpus: 256}"))
    assert bare == written


@pytest.mark.parametrize(
    ("load", "kind"),
    [
        ('requestsPerSecond: "2.5"', LoadKind.OPEN_LOOP),
        ("items: 100, deadlineMinutes: 5", LoadKind.OFFLINE),
        ("concurrentUsers: 7", LoadKind.CLOSED_LOOP),
    ],
)
def test_a_load_of_another_kind_takes_the_place_of_the_presets(load: str, kind: LoadKind) -> None:
    found = converted(spec_of("useCase: Chatbot", f"workload: {{{load}}}")).scenario
    work = found.workload
    stated = (work.concurrent_users, work.request_rate_rps, work.items)
    assert work.kind is kind
    assert [value is not None for value in stated].count(True) == 1
    assert (found.slo.ttft_s is None) == (kind is LoadKind.OFFLINE)


def test_the_context_grows_with_the_lengths_unless_it_is_stated() -> None:
    longer = "workload: {promptTokens: {mean: 4000, p95: 8000}, outputTokens: {mean: 100, p95: 200}}"
    found = converted(spec_of("useCase: Chatbot", longer))
    assert found.scenario.context_tokens == 8200
    assert row(found, "contextTokens").origin is Origin.DEFAULT
    numbers = "prompt p95 8000 + output p95 200 = 8200 tokens do not fit 4096 (set at least 8200)"
    assert faults_of(spec_of("useCase: Chatbot", longer, "contextTokens: 4096")) == [
        f"chat.yaml:7: spec.contextTokens: {numbers}"
    ]


def test_a_pin_must_hold_the_lengths_and_says_the_numbers() -> None:
    pin = "select: {pin: {maxModelLen: 2048}}"
    numbers = "prompt p95 3000 + output p95 600 = 3600 tokens do not fit 2048"
    assert faults_of(spec_of("useCase: Chatbot", pin)) == [
        f"chat.yaml:6: spec.select.pin.maxModelLen: {numbers} (raise it, or shorten the lengths)"
    ]
    short = "workload: {promptTokens: {mean: 100, p95: 200}, outputTokens: {mean: 10, p95: 20}}"
    assert converted(spec_of("useCase: Chatbot", short, pin)).scenario.context_tokens == 2048
    assert faults_of(spec_of("useCase: Chatbot", short, pin, "contextTokens: 4000")) == [
        "chat.yaml:8: spec.contextTokens: 4000 exceed the pinned maxModelLen of 2048"
    ]


def test_custom_says_which_fields_it_needs() -> None:
    load = "set concurrentUsers, requestsPerSecond, or items with deadlineMinutes"
    assert faults_of("useCase: Custom") == [
        f"chat.yaml:4: spec.workload: useCase Custom needs a load ({load})",
        "chat.yaml:4: spec.workload.promptTokens: useCase Custom needs it (set mean and p95)",
        "chat.yaml:4: spec.workload.outputTokens: useCase Custom needs it (set mean and p95)",
    ]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (
            'workload: {concurrentUsers: 5, requestsPerSecond: "1"}',
            "spec.workload.requestsPerSecond: the load is stated more than once (concurrentUsers and requests",
        ),
        ('workload: {requestsPerSecond: "0.0"}', "spec.workload.requestsPerSecond: must be above zero"),
        ("workload: {items: 5}", "spec.workload.items: a batch run needs a deadline"),
        ("workload: {items: 5, thinkTimeSeconds: 1, deadlineMinutes: 1}", "spec.workload.thinkTimeSeconds: belongs to"),
        ('workload: {items: 5, deadlineMinutes: 1, burstiness: "2"}', "spec.workload.burstiness: a batch run has no"),
        ("workload: {concurrentUsers: 5, deadlineMinutes: 5}", "spec.workload.deadlineMinutes: belongs to a batch run"),
        ('workload: {concurrentUsers: 5, schedule: {cron: "0 1 * * *"}}', "spec.workload.schedule: belongs to a batch"),
        (
            spec_of("workload: {items: 5, deadlineMinutes: 1}", "slo: {requestLatencyMilliseconds: 5}"),
            "spec.slo.requestLatencyMilliseconds: a batch run has a deadline",
        ),
        ("workload: {promptTokens: {mean: 50, p95: 20}}", "spec.workload.promptTokens.p95: 20 is below the mean of 50"),
        ("workload: {outputTokens: {mean: 0, p95: 0}}", "spec.workload.outputTokens.mean: generation needs at least 1"),
        (
            "workload: {sharedPrefixTokens: 1500}",
            "spec.workload.sharedPrefixTokens: 1500 exceed the mean prompt of 1000",
        ),
        (
            spec_of("task: Classification", "workload: {outputTokens: {mean: 1, p95: 1}}"),
            "spec.workload.outputTokens: a classifier generates nothing",
        ),
        ("select: {tier: Budget, pin: {replicas: 1}}", "spec.select.pin: a pinned configuration has no tier"),
        ("model: {custom: {repository: a/b}}", "spec.model.custom: needs either base or architecture"),
        (
            "model: {allow: [Mixtral*], custom: {repository: a/b, base: meta-llama/Llama-2-7b-chat-hf}}",
            "spec.model.allow: custom already names the one model",
        ),
        (
            spec_of(
                "task: Classification",
                "model: {custom: {repository: a/b, base: meta-llama/Llama-2-7b-chat-hf, task: Generation}}",
            ),
            "spec.model.custom.task: Generation contradicts task: Classification",
        ),
        (
            spec_of(
                "model: {custom: {repository: a/b, base: meta-llama/Llama-2-7b-chat-hf}}",
                "select: {pin: {quantization: INT8, model: c/d}}",
            ),
            "spec.select.pin.quantization: INT8 is not the format of the custom model (16 bit)",
        ),
        ("hardware: {source: Owned}", "spec.hardware.owned: source Owned needs at least one pool"),
        ("autoscaling: {type: HPA}", "spec.autoscaling.type: no HPA is written yet (leave it out;"),
        ("autoscaling: {type: KEDA}", "spec.autoscaling.type: no KEDA is written yet"),
        ("autoscaling: {minReplicas: 3, maxReplicas: 2}", "spec.autoscaling.minReplicas: 3 exceeds maxReplicas of 2"),
        ("hardware: {allow: [t4, H100*], deny: [Tesla-T4]}", 'spec.hardware.deny: "t4" is both allowed and denied'),
        (
            "model: {allow: [meta-llama/llama-2-7b-chat-hf], deny: [meta-llama/Llama-2-7b-chat-hf]}",
            'spec.model.deny: "meta-llama/Llama-2-7b-chat-hf" is both allowed and denied',
        ),
    ],
)
def test_contradictions_are_refused(spec: str, fault: str) -> None:
    assert any(fault in found for found in faults_of(spec_of("useCase: Chatbot", spec)))


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("hardware: {allow: [t44]}", 'spec.hardware.allow[0]: unknown GPU "t44" (did you mean "t4"'),
        ("hardware: {allow: [zz*]}", 'spec.hardware.allow[0]: no GPU of the catalog matches "zz*"'),
        ("model: {allow: [Llama-2-7b]}", '(did you mean "meta-llama/Llama-2-7b-chat-hf"?)'),
        ("model: {deny: [Owen/*]}", 'spec.model.deny[0]: no model of the catalog matches "Owen/*"'),
        ("hardware: {providers: [azur]}", 'spec.hardware.providers[0]: unknown provider "azur" (allowed: aws, gcp)'),
        ("hardware: {regions: [us-east1]}", 'unknown region "us-east1" (did you mean "us-east-1"'),
        ("quality: {minimum: Gud}", 'spec.quality.minimum: unknown quality level "Gud" (allowed: Good, High)'),
        ("quality: {minimum: good}", 'unknown quality level "good" (did you mean "Good"?)'),
        ('quality: {minimum: "mmmlu: 5"}', 'spec.quality.minimum: unknown benchmark "mmmlu"'),
        ("select: {pin: {gpu: v100}}", 'spec.select.pin.gpu: unknown GPU "v100"'),
        ("select: {pin: {model: gpt-5}}", 'spec.select.pin.model: unknown model "gpt-5"'),
        ("model: {custom: {repository: a/b, base: gpt-5}}", 'spec.model.custom.base: unknown model "gpt-5"'),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(spec: str, fault: str) -> None:
    assert any(fault in found for found in faults_of(spec_of("useCase: Chatbot", spec)))


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("hardware: {allow: [t5]}", 'unknown GPU "t5" (try `inferplan catalog list gpus`)'),
        ("select: {pin: {gpu: t5}}", 'unknown GPU "t5" (try `inferplan catalog list gpus`)'),
        ("model: {allow: [nope/none]}", 'unknown model "nope/none" (try `inferplan catalog list models`)'),
        ("hardware: {providers: [amazon]}", 'unknown provider "amazon" (allowed: aws, azure'),
        ("hardware: {regions: [moon]}", 'unknown region "moon" (try `inferplan catalog list offerings`)'),
    ],
)
def test_a_name_that_is_near_none_is_refused_with_where_all_stand(spec: str, fault: str) -> None:
    assert any(fault in found for found in faults_of(spec_of("useCase: Chatbot", spec), load_catalog()))


@pytest.mark.parametrize(
    ("lengths", "fault"),
    [
        ("promptTokens: {mean: 1, p95: 10000000}", "promptTokens.p95: prompt p95 10000000 + output p95 600 = 10000600"),
        (
            "outputTokens: {mean: 1, p95: 10000000}",
            "outputTokens.p95: prompt p95 3000 + output p95 10000000 = 10003000",
        ),
        (
            "promptTokens: {mean: 9, p95: 6000000}, outputTokens: {mean: 9, p95: 5000000}",
            "promptTokens.p95: prompt p95 6000000 + output p95 5000000 = 11000000",
        ),
    ],
)
@pytest.mark.parametrize("context", ["", "contextTokens: 10000000"])
def test_lengths_beyond_any_context_are_refused_where_they_stand(lengths: str, fault: str, context: str) -> None:
    (found,) = faults_of(spec_of("useCase: Chatbot", f"workload: {{{lengths}}}", context))
    assert found.startswith(f"chat.yaml:6: spec.workload.{fault} tokens are more than the 10000000 of any context")


def test_an_empty_catalog_is_told_and_no_crash() -> None:
    empty = make_api_catalog(models=(), gpus=(), offerings=(), engines=(), methods=(), presets=(), levels=())
    assert converted(spec_of("useCase: Chatbot", LOAD), empty).scenario.workload.concurrent_users == 5
    assert faults_of(spec_of("useCase: Chatbot", LOAD, "hardware: {allow: [t4]}"), empty) == [
        'chat.yaml:7: spec.hardware.allow[0]: unknown GPU "t4" (the catalog has no GPU at all)'
    ]


def test_a_billion_users_and_a_budget_of_zero_are_for_the_planner_to_judge() -> None:
    scenario = converted(
        spec_of("useCase: Chatbot", "workload: {concurrentUsers: 1000000000}", 'budget: {maximumUsdPerHour: "0"}')
    ).scenario
    assert scenario.workload.concurrent_users == 10**9
    assert scenario.budget.maximum_usd_per_hour == 0


def test_names_become_ids_whatever_their_spelling() -> None:
    found = converted(
        spec_of(
            "useCase: Chatbot",
            "hardware: {allow: [Tesla-T4, h100*], providers: [AWS], capacityTypes: [Spot, OnDemand, Spot]}",
            "model: {allow: [META-LLAMA/llama-2-7b-chat-hf, mistralai/*]}",
        )
    ).scenario
    assert found.hardware.allow == ("t4", "h100-80gb-sxm")
    assert found.hardware.providers == ("aws",)
    assert found.hardware.terms == (Terms.SPOT, Terms.ON_DEMAND)
    assert found.model.allow == ("meta-llama/Llama-2-7b-chat-hf", "mistralai/*")


def test_a_score_on_a_benchmark_is_a_minimum_too() -> None:
    found = converted(spec_of("useCase: Chatbot", f'quality: {{minimum: "{ELO}: 1150.5"}}')).scenario
    assert found.quality == QualityPolicy(level=None, metric=ELO, minimum=Decimal("1150.5"))


def test_a_custom_model_is_vouched_for_by_its_owner() -> None:
    found = converted(
        spec_of(
            "useCase: Chatbot",
            "model: {custom: {repository: my/model, base: meta-llama/llama-2-7b-chat-hf, quantization: INT8}}",
            "select: {pin: {quantization: INT8, gpu: tesla-t4, engine: vLLM}}",
        )
    ).scenario
    assert found.quality.metric is None
    assert found.model.custom is not None
    assert (found.model.custom.base, found.model.custom.task) == ("meta-llama/Llama-2-7b-chat-hf", Task.GENERATION)
    assert found.pin == Pin(model="my/model", quantization=Quantization.INT8, gpu="t4", engine="vllm")


def test_an_architecture_of_ones_own_becomes_a_model() -> None:
    found = converted(
        spec_of(
            "useCase: Chatbot",
            "model:",
            "  custom:",
            "    repository: my/moe",
            "    architecture:",
            "      {name: MyForCausalLM, parametersTotal: 30000000000, parametersActive: 3000000000, layers: 48,",
            "       hiddenSize: 2048, attentionHeads: 32, kvHeads: 4, headDim: 128, intermediateSize: 6144,",
            "       vocabularySize: 151936, maximumPositions: 40960, slidingWindowTokens: 4096, computeType: float16,",
            "       experts: {experts: 128, expertsPerToken: 8, expertIntermediateSize: 768, layers: 48}}",
        )
    ).scenario
    assert found.model.custom is not None
    model = found.model.custom.architecture
    assert model is not None
    assert model.attention == (AttentionLayers(LayerKind.SLIDING, 48, 4, 128, 128, window_tokens=4096),)
    assert model.moe == MixtureOfExperts(128, 8, 768, 48)
    assert (model.id, model.params_active, model.native_dtype) == ("my/moe", 3_000_000_000, Dtype.FLOAT16)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("kvHeads: 5", "kvHeads: 5 does not divide 32 attention heads"),
        ("parametersActive: 9000000000", "parametersActive: exceeds parametersTotal"),
        ("computeType: int8", "computeType: int8 is not possible (bfloat16 or float16)"),
        ("experts: {experts: 4, expertsPerToken: 8, expertIntermediateSize: 8, layers: 1}", "exceeds the 4 experts"),
        (
            "experts: {experts: 8, expertsPerToken: 8, expertIntermediateSize: 8, layers: 99}",
            "99 exceed the model's 32",
        ),
    ],
)
def test_an_architecture_that_cannot_be_is_refused(change: str, fault: str) -> None:
    fields = {
        "name": "X",
        "parametersTotal": "7000000000",
        "layers": "32",
        "hiddenSize": "4096",
        "attentionHeads": "32",
        "kvHeads": "8",
        "headDim": "128",
        "intermediateSize": "11008",
        "vocabularySize": "32000",
        "maximumPositions": "4096",
    }
    key, value = change.split(": ", 1)
    written = ", ".join(f"{name}: {text}" for name, text in {**fields, key: value}.items())
    spec = spec_of("useCase: Chatbot", f"model: {{custom: {{repository: a/b, architecture: {{{written}}}}}}}")
    assert any(fault in found for found in faults_of(spec))


def test_owned_machines_take_their_defaults_from_dated_figures() -> None:
    found = converted(
        spec_of(
            "useCase: Chatbot",
            "hardware:",
            "  source: Owned",
            '  owned: [{name: rack, gpu: h100-80gb-sxm, gpusPerNode: 8, nodes: 2, purchaseUsdPerNode: "300000"}]',
        )
    ).scenario.hardware
    assert found.source is HardwareSource.OWNED
    pool = found.owned[0]
    assert pool.power_w_per_node == 7560  # 700 W x 8 x 1.8 x 0.75
    assert (pool.life_years, pool.pue, pool.usd_per_kwh) == (Decimal(5), Decimal("1.25"), Decimal("0.083"))
    assert (pool.maintenance_percent_per_year, pool.residual_percent, pool.other_usd_per_month) == (
        Decimal(5),
        Decimal(0),
        Decimal(0),
    )


def test_a_schedule_is_kept() -> None:
    found = converted(
        spec_of("useCase: BatchClassification", 'workload: {schedule: {cron: "0 1 * * *", windowMinutes: 60}}')
    ).scenario
    assert found.workload.schedule == Schedule("0 1 * * *", "Etc/UTC", 60)


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ('{cron: "99 99 * * *"}', 'schedule.cron: minute "99" is not from 0 to 59'),
        ('{cron: "0 0 31 2 *"}', "schedule.cron: never starts"),
        ('{cron: "@nonsense"}', 'schedule.cron: "@nonsense" is not known (allowed: @yearly'),
        ('{cron: "@every -1h"}', 'schedule.cron: @every "-1h" is not a duration'),
        (
            '{cron: "TZ=UTC 0 0 * * *"}',
            "schedule.cron: names a time zone (set spec.workload.schedule.timeZone instead)",
        ),
        ('{cron: ""}', "schedule.cron: must not be empty ("),
        ('{cron: "@daily", timeZone: Mars/Base}', 'schedule.timeZone: "Mars/Base" is not a time zone'),
        ('{cron: "@daily", timeZone: Europe/Berlim}', 'did you mean "Europe/Berlin"'),
        ('{cron: "@daily", timeZone: europe/berlin}', 'did you mean "Europe/Berlin"'),
        ('{cron: "@daily", timeZone: Local}', '"Local" is not a time zone'),
        ('{cron: "@daily", timeZone: ""}', "schedule.timeZone: must not be empty ("),
        ('{cron: "@daily", timeZone: "Europe/ Berlin"}', "a name of the tz database, such as Europe/Berlin"),
        (
            '{cron: "*/30 * * * *"}',
            "deadlineMinutes: the deadline (60 min) exceeds the 30 min between starts (set at most 30, or start less",
        ),
        (
            '{cron: "0 * * * *", windowMinutes: 61}',
            "schedule.windowMinutes: the window (61 min) exceeds the 60 min between starts (set at most 60",
        ),
        (
            '{cron: "@every 45s"}',
            "deadlineMinutes: the deadline (60 min) exceeds the 0.75 min between starts (start less often)",
        ),
        (
            '{cron: "0 8,10 * * MON"}, deadlineMinutes: 121',
            "deadlineMinutes: the deadline (121 min) exceeds the 120 min",
        ),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(schedule: str, fault: str) -> None:
    (found,) = faults_of(spec_of("useCase: BatchClassification", f"workload: {{schedule: {schedule}}}"))
    assert found.startswith("chat.yaml:6: spec.workload.")
    assert fault in found


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "EST5EDT", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
@pytest.mark.parametrize("cron", ["@daily", "@every 1h", "0 2 ? * mon-fri", "30 1,13 * * *"])
def test_a_schedule_that_kubernetes_keeps_is_kept(cron: str, zone: str) -> None:
    spec = f'workload: {{schedule: {{cron: "{cron}", timeZone: {zone}}}}}'
    assert converted(spec_of("useCase: BatchClassification", spec)).scenario.workload.schedule == Schedule(
        cron, zone, None
    )


def test_a_window_ends_a_run_whose_deadline_is_later() -> None:
    schedule = '{cron: "*/30 * * * *", windowMinutes: 30}'
    found = converted(spec_of("useCase: BatchClassification", f"workload: {{schedule: {schedule}}}"))
    assert found.scenario.workload.time_limit_s == 1800


def test_a_preset_that_says_the_impossible_is_a_fault_of_the_catalog() -> None:
    preset = Preset(UseCase.CHATBOT, Task.GENERATION, "", (PresetValue("slo.percentil", "P95", ""),))
    with pytest.raises(CatalogError, match=r"preset Chatbot: slo\.percentil"):
        converted("useCase: Chatbot", make_api_catalog(presets=(preset,)))
