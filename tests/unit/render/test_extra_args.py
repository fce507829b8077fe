"""The user's own flags: known, of the right type, theirs to give, and never a way around a policy."""

from __future__ import annotations

import pytest

from inferplan._assets import asset_folder
from inferplan.domain.flags import FlagList
from inferplan.render.extra_args import extra_arguments
from inferplan.render.flag_list import read_flag_list
from inferplan.render.flags import Argument

VLLM = read_flag_list(asset_folder("templates") / "vllm" / "0.33.x")
TGI = read_flag_list(asset_folder("templates") / "tgi" / "3.3.x")


def refusals(*words: str, known: FlagList = VLLM, remote_code: bool = False) -> list[str]:
    _, faults = extra_arguments(words, known, [Argument("--enable-prefix-caching")], remote_code=remote_code)
    return [str(fault) for fault in faults]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seed=7"], [Argument("--seed", ("7",))]),
        (["--seed", "7", "--enable-log-requests"], [Argument("--seed", ("7",)), Argument("--enable-log-requests")]),
        (["--no-enable-chunked-prefill"], [Argument("--no-enable-chunked-prefill")]),
        (["--max_log_len=10"], [Argument("--max-log-len", ("10",))]),
        (["--allowed-media-domains", "a.example", "b.example"], [
            Argument("--allowed-media-domains", ("a.example", "b.example"))
        ]),
        (["--compilation-config", '{"level": 3}'], [Argument("--compilation-config", ('{"level": 3}',))]),
        (["--compilation-config.level", "3"], [Argument("--compilation-config.level", ("3",))]),
        (["-O3", "--seed=1"], [Argument("--optimization-level", ("3",)), Argument("--seed", ("1",))]),
        (["-O=2"], [Argument("--optimization-level", ("2",))]),
        (["-O", "1"], [Argument("--optimization-level", ("1",))]),
    ],
)  # fmt: skip
def test_what_the_engine_has_is_passed_on(words: list[str], expected: list[Argument]) -> None:
    assert extra_arguments(words, VLLM, remote_code=False) == (tuple(expected), ())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-num-seq=4"], 'extraArgs[0]: vllm 0.33.0 has no flag "--max-num-seq" (did you mean "--max-num-seqs"'),
        (["--swap-space=4"], 'has no flag "--swap-space"'),
        (["--enforce"], 'has no flag "--enforce"'),  # the engine takes abbreviations; we do not
        (["-cc", "{}"], '"-cc" is a short spelling (write --compilation-config)'),
        (["-tp", "2"], "--tensor-parallel-size is decided by the plan (use spec.select.pin.gpusPerReplica"),
        (["--device=cuda"], 'has no flag "--device" (leave it out: it is found automatically)'),
        (["--max-num-queued-tokens=8q"], '"8q" is not a whole number'),
        (["--seed"], "--seed needs a value"),
        (["--seed=x"], '--seed: "x" is not a whole number'),
        (["--watermark=x"], '--watermark: "x" is not a number'),
        (["--seed", "1", "2"], '--seed takes one value, "2" is one too many'),
        (["--enable-log-requests=true"], '--enable-log-requests is a switch and takes no value, "true" was given'),
        (["--uvicorn-log-level=loud"], '"loud" is not one of critical, debug'),
        (["--compilation-config={level"], "is not valid JSON"),
        (["7"], 'has no flag "7"'),
        (["--seed=1", "--seed=2"], "extraArgs[1]: --seed is given already"),
        (["--no-enable-prefix-caching"], "--enable-prefix-caching is given already"),
    ],
)  # fmt: skip
def test_what_it_has_not_is_refused_with_the_nearest_name(words: list[str], said: str) -> None:
    (refusal,) = refusals(*words)
    assert said in refusal


@pytest.mark.parametrize(
    "word",
    [
        "--model=a/b",
        "--max-model-len=1",
        "--max_model_len=1",
        "--tensor-parallel-size=8",
        "--gpu-memory-utilization=1",
        "--quantization=fp8",
        "--speculative-config.method=ngram",
        "--config=/tmp/flags.yaml",
        "--port=1",
        "--shutdown-timeout=0",
        "--served-model-name=x",
        "--api-key=x",
        "--hf-token=x",
    ],
)
def test_what_the_plan_the_pod_or_a_secret_decides_is_not_the_users(word: str) -> None:
    assert len(refusals(word)) == 1
    assert len(refusals(word, remote_code=True)) == 1


@pytest.mark.parametrize(
    "word",
    [
        "--trust-remote-code",
        "--trust_remote_code",
        "--no-trust-remote-code",
        "--middleware=evil.module",
        "--worker-cls=evil.Worker",
        "--logits-processors=evil:Processor",
        "--tool-parser-plugin=/models/x.py",
        "--hf-overrides={}",
        "--allowed-local-media-path=/",
        "--otlp-traces-endpoint=http://evil.example:4317",
        '--kv-events-config={"endpoint": "tcp://evil.example:1"}',
        '--profiler-config={"torch_profiler_dir": "/models"}',
        "--profiler-config.torch_profiler_dir=/models",
        "--generation-config=/etc",
        "--config-format=x",
        '--compilation-config={"level": 3, "backend": "evil.Backend"}',
        "--compilation-config.debug_dump_path=/models",
        "--compilation-config.inductor_passes.x=evil.Pass",
        "--mm-encoder-fp8-scale-save-path=/models/x",
    ],
)
def test_code_from_elsewhere_needs_the_explicit_policy(word: str) -> None:
    (refusal,) = refusals(word)
    assert "remoteCode: Allow" in refusal
    assert refusals(word, remote_code=True) == []


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("--gpu-memory-utilization=0.95", 'use spec.select.pin.gpuMemoryUtilization: "0.95"'),
        ("--device-memory-utilization=0.5", 'use spec.select.pin.gpuMemoryUtilization: "0.5"'),
        ("--kv_cache_dtype=fp8", "use spec.select.pin.kvCacheType: bfloat16, float16 or fp8"),
        ("--max-model-len=16K", "use spec.contextTokens, or spec.select.pin.maxModelLen: 16384"),
        ("--max-model-len=auto", "use spec.contextTokens, or spec.select.pin.maxModelLen: auto"),
        ("--max-num-seqs=many", "use spec.select.pin.maxNumSeqs: …"),
        ("--enforce-eager", "use spec.select.pin.execution: Eager"),
        ("--language-model-only", "use spec.select.pin.modalities: Text, which is the default"),
        ("--data-parallel-size=2", "use spec.select.pin.replicas: 2"),
        ("--speculative-config.method=ngram", "use spec.select.pin.speculativeDecoding"),
    ],
)
def test_a_flag_of_the_plan_names_the_field_to_use_instead(word: str, instead: str) -> None:
    assert refusals(word)[0].endswith(f"is decided by the plan ({instead})")


def test_numbers_for_people_and_listed_numbers_are_taken() -> None:
    assert refusals("--max-num-queued-tokens=8k", "--max-lora-rank=16") == []


def test_harmless_values_of_a_flag_that_could_reach_outside_are_the_users() -> None:
    words = ("--generation-config=vllm", "--config-format=hf", '--compilation-config={"cudagraph_mode": "FULL"}')
    assert refusals(*words) == []
    assert "without it: auto, vllm" in refusals("--generation-config=/etc")[0]


def test_no_flag_hides_among_the_values_of_another() -> None:
    assert "decided by the plan" in refusals("--allowed-media-domains", "a.example", "-q", "fp8")[0]
    assert "decided by the plan" in refusals("--allowed-media-domains", "a.example", "-tp=8")[0]
    assert 'no flag "--"' in refusals("--enable-log-requests", "--", "other/model")[0]


def test_a_negative_number_is_a_value() -> None:
    assert refusals("--seed", "-1") == []


def test_the_flags_of_tgi_are_judged_the_same_way() -> None:
    assert refusals("--max-best-of=3", known=TGI) == []
    assert "no flag" in refusals("--max-num-seqs=3", known=TGI)[0]
    assert len(refusals("--num-shard=3", known=TGI)) == 1
    assert "remoteCode" in refusals("--trust-remote-code", known=TGI)[0]
    assert "remoteCode" in refusals("--otlp-endpoint=http://evil.example", known=TGI)[0]


def test_every_fault_is_told_at_once() -> None:
    assert len(refusals("--nonsense", "--port=1", "--seed=x")) == 3
