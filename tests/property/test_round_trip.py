"""A round trip spec -> domain -> spec loses nothing, and no input whatever ends in a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.api.nodes import read_inventory
from inferplan.api.price_book import read_price_book
from inferplan.api.v1alpha1 import InferenceScenario
from inferplan.api.v1alpha1.pin import Execution, KvCacheType, Modalities
from inferplan.api.written import to_resource
from inferplan.api.yaml_tree import parse_trees
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.hardware import Market, Terms
from inferplan.domain.model import Quantization
from inferplan.domain.scenario import Enforcement, Lossy, Tier
from tests.unit.api.catalogs import HEAD, make_api_catalog

CATALOG = make_api_catalog()


def subset(values: Any) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(str(value) for value in values)), min_size=1, unique=True)


def amounts(smallest: int = 0) -> st.SearchStrategy[str]:
    return st.decimals(smallest, 10**6, allow_nan=False, places=4).map(str)


@st.composite
def lengths(draw: st.DrawFn) -> dict[str, int]:
    mean = draw(st.integers(1, 4000))
    return {"mean": mean, "p95": draw(st.integers(mean, 8000))}


@st.composite
def workloads(draw: st.DrawFn) -> dict[str, Any]:
    load: dict[str, Any] = {"promptTokens": draw(lengths()), "outputTokens": draw(lengths())}
    kind = draw(st.sampled_from(["closed", "open", "offline"]))
    if kind == "closed":
        load["concurrentUsers"] = draw(st.integers(1, 10**9))
        load["thinkTimeSeconds"] = draw(st.integers(0, 86_400))
    elif kind == "open":
        load["requestsPerSecond"] = draw(amounts(1))
        load["burstiness"] = draw(st.sampled_from(["0", "1", "2.5"]))
    else:
        load["items"] = draw(st.integers(1, 10**9))
        load["deadlineMinutes"] = draw(st.integers(1, 1440))  # a run ends before the next one starts
        if draw(st.booleans()):
            load["schedule"] = {"cron": "0 2 * * *", "timeZone": "Europe/Berlin", "windowMinutes": 60}
    if draw(st.booleans()):
        load["sharedPrefixTokens"] = draw(st.integers(0, load["promptTokens"]["mean"]))
    return load


def parts(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


POOL = st.fixed_dictionaries(
    {
        "name": st.just("rack"),
        "gpu": st.sampled_from(["t4", "h100-80gb-sxm"]),
        "gpusPerNode": st.integers(1, 16),
        "nodes": st.integers(1, 100),
        "purchaseUsdPerNode": amounts(),
    },
    optional={
        "powerWattsPerNode": st.integers(1, 20_000),
        "lifeYears": st.sampled_from(["3", "4.5"]),
        "pue": st.just("1.1"),
        "usdPerKilowattHour": amounts(),
        "maintenancePercentPerYear": st.integers(0, 100),
        "residualPercent": st.integers(0, 100),
        "otherUsdPerMonth": amounts(),
    },
)
LLAMA, MIXTRAL = "meta-llama/Llama-2-7b-chat-hf", "mistralai/Mixtral-8x7B-Instruct-v0.1"


@st.composite
def decodings(draw: st.DrawFn, engine: str) -> dict[str, Any]:
    method = draw(st.sampled_from(["Ngram"] if engine == "TGI" else ["Ngram", "DraftModel"]))
    found: dict[str, Any] = {"method": method, "tokens": draw(st.integers(1, 64))}
    if draw(st.booleans()):
        found["acceptancePercent"] = draw(st.integers(0, 99))
    return {**found, "model": LLAMA} if method == "DraftModel" else found


@st.composite
def pins(draw: st.DrawFn, engines: list[str]) -> dict[str, Any]:
    engine = draw(st.sampled_from(engines))
    offloads = {"cpuOffloadGib": st.integers(1, 100), "kvOffloadGib": st.integers(1, 100)}
    shares = ["0.5", "0.0001", "0.9"] if engine == "TGI" else ["0.95", "0.5", "0.0001", "1", "1.0", "0.9200"]
    pin = draw(
        parts(
            model=st.just(MIXTRAL),
            quantization=st.sampled_from([item.value for item in Quantization]),
            gpu=st.sampled_from(["t4", "l4"]),
            gpusPerReplica=st.integers(1, 16),
            replicas=st.integers(1, 100),
            maxNumSeqs=st.integers(1, 512),
            maxModelLen=st.integers(16_000, 100_000),
            kvCacheType=st.sampled_from([item.value for item in KvCacheType]),
            gpuMemoryUtilization=st.sampled_from(shares),
            maxNumBatchedTokens=st.integers(512, 65_536),
            execution=st.sampled_from([item.value for item in Execution]),
            modalities=st.sampled_from([item.value for item in Modalities]),
            speculativeDecoding=decodings(engine),
            **({} if engine == "TGI" else offloads),
        )
    )
    return {**pin, "engine": engine}


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    workload = draw(workloads())
    engines = ["vLLM"] if "items" in workload else ["vLLM", "TGI"]
    spec: dict[str, Any] = {"useCase": draw(st.sampled_from(["Chatbot", "Custom", "Summarization"]))}
    spec["workload"] = workload
    if "items" not in workload:
        target = st.integers(1, 86_400_000)
        spec["slo"] = draw(
            parts(
                percentile=st.sampled_from(["P50", "P90", "P95", "P99"]),
                timeToFirstTokenMilliseconds=target,
                timePerOutputTokenMilliseconds=target,
                requestLatencyMilliseconds=target,
            )
        )
    spec["quality"] = draw(
        parts(
            minimum=st.sampled_from(["Good", "High", "lmarena_text_elo_style_control: 1100.5"]),
            quantization=parts(allow=subset(Quantization), lossy=st.sampled_from([item.value for item in Lossy])),
        )
    )
    spec["model"] = draw(
        parts(
            allow=st.just(["meta-llama/*"]),
            deny=st.just(["mistralai/Mixtral-8x7B-Instruct-v0.1"]),
            licenses=st.just(["mit"]),
        )
    )
    spec["hardware"] = draw(
        parts(
            source=st.sampled_from(["Auto", "Cluster", "Market"]),
            allow=st.just(["t4", "l4"]),
            deny=st.just(["h100-80gb-sxm"]),
            maximumGpus=st.integers(1, 1000),
            capacityTypes=subset(Terms),
            markets=subset(Market),
            providers=subset(["aws", "gcp"]),
            regions=subset(["us-east-1", "us-central1"]),
            owned=st.lists(POOL, min_size=1, max_size=1),
        )
    )
    spec["budget"] = draw(
        parts(
            maximumUsdPerHour=amounts(),
            maximumUsdPerMonth=amounts(),
            maximumUsdPerRequest=amounts(),
            enforcement=st.sampled_from([item.value for item in Enforcement]),
        )
    )
    details = parts(
        allow=subset(["vLLM"]),
        version=st.just("0.33.0"),
        image=st.just("registry.example.com/vllm:v0.33.0"),
        extraArgs=st.just(["--seed=1"]),
        remoteCode=st.sampled_from(["Allow", "Deny"]),
    )
    spec["engine"] = draw(st.one_of(parts(allow=subset(engines)), details))
    toleration = st.fixed_dictionaries(
        {
            "key": st.sampled_from(["dedicated", "example.com/team"]),
            "operator": st.just("Equal"),
            "value": st.just("us"),
        },
        optional={"effect": st.sampled_from(["NoSchedule", "NoExecute"])},
    )
    spec["deploy"] = draw(parts(podTemplate=st.fixed_dictionaries({"tolerations": st.lists(toleration, max_size=2)})))
    tier = st.fixed_dictionaries({"tier": st.sampled_from([item.value for item in Tier])})
    spec["select"] = draw(st.one_of(st.just({}), tier, st.fixed_dictionaries({"pin": pins(engines)})))
    spec["growth"] = draw(parts(factors=st.lists(st.integers(2, 1000), max_size=8)))
    spec["headroomPercent"] = draw(st.integers(0, 1000))
    return spec


def resource(spec: dict[str, Any]) -> InferenceScenario:
    head = {"apiVersion": "inferplan.dev/v1alpha1", "kind": "InferenceScenario", "metadata": {"name": "chat"}}
    return InferenceScenario.model_validate({**head, "spec": spec})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(specs())
def test_a_scenario_written_and_read_again_is_the_same(spec: dict[str, Any]) -> None:
    scenario = to_scenario(resource(spec), CATALOG).scenario
    assert to_scenario(to_resource(scenario), CATALOG).scenario == scenario


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(specs())
def test_a_resource_as_yaml_and_read_again_is_the_same(spec: dict[str, Any]) -> None:
    written = resource(spec)
    text = yaml.safe_dump(written.model_dump(by_alias=True, mode="json", exclude_none=True))
    assert read_scenarios(text, "chat.yaml").scenarios[0].resource == written


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(specs())
def test_nothing_that_is_stated_is_overridden(spec: dict[str, Any]) -> None:
    scenario = to_scenario(resource(spec), CATALOG).scenario
    stated = {row.field: row for row in to_scenario(resource(spec), CATALOG).resolved}
    assert scenario.headroom_percent == spec["headroomPercent"]
    assert scenario.workload.prompt.p95 == spec["workload"]["promptTokens"]["p95"]
    for name, value in spec.get("slo", {}).items():
        assert stated[f"slo.{name}"].value == str(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["useCase", "workload", "slo", "model", "hardware", "select", "quality", "budget", "growth"])


def refusal(read: Callable[[], object]) -> tuple[Fault, ...] | None:
    """Return why something is refused, or None if it is read; anything else raised is a failure."""
    try:
        read()
    except InputError as error:
        return error.faults
    return None


@given(st.text() | st.binary())
@example("a: \ud800")
@example("\x00")
@example("- " * 3000)
@example("9" * 5000)
@example("{a: " * 500)
@example("!!binary x")
@example("? a\n? b")
@example("&a a: *a")
@example("0x")
@example("0o9_")
@example("-_")
@example(".inf")
def test_any_text_is_read_or_refused_with_a_printable_reason(data: str | bytes) -> None:
    faults = refusal(lambda: read_scenarios(data, "x.yaml"))
    assert faults
    assert all(str(fault).encode() for fault in faults)
    assert refusal(lambda: parse_trees(data, "x.yaml")) != ()


@given(st.dictionaries(FIELDS, JSON, max_size=3))
def test_any_spec_is_converted_or_refused_with_its_place(spec: dict[str, Any]) -> None:
    text = HEAD + yaml.safe_dump({"spec": {"useCase": "Chatbot", **spec}}, allow_unicode=True)

    def convert() -> None:
        for document in read_scenarios(text, "x.yaml").scenarios:
            to_scenario(document.resource, CATALOG, document.locate)

    assert all(fault.where.startswith("x.yaml") for fault in refusal(convert) or ())


@given(JSON)
def test_any_value_is_an_inventory_or_refused(value: Any) -> None:
    node = {"kind": "Node", "metadata": {"name": "a", "labels": value}, "spec": value, "status": value}
    for text in (yaml.safe_dump(node), yaml.safe_dump({"kind": "List", "items": value})):
        assert refusal(functools.partial(read_inventory, text, "x.yaml", CATALOG)) != ()


@given(JSON)
def test_any_value_is_a_price_book_or_refused(value: Any) -> None:
    assert refusal(lambda: read_price_book(yaml.safe_dump([value]), "x.yaml", CATALOG)) != ()


@pytest.mark.parametrize("piece", ["[", "a: &a ", "- - ", "'x", "? ", "{a: "])
def test_strange_texts_end_in_one_fault(piece: str) -> None:
    faults = refusal(lambda: parse_trees(piece * 20_000, "x.yaml"))
    assert faults is not None
    assert len(faults) == 1
