"""The flags that are rendered make the plan's assumptions true, word for word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.model import Checkpoint, Dtype, Quantization, Task
from inferplan.domain.scenario import EnginePolicy, Schedule
from inferplan.render import batch_driver
from tests.builders import make_engine, make_method, make_model, make_scenario, make_workload
from tests.unit.render.plans import (
    configured,
    container,
    flag,
    make_batch_deploy,
    make_batch_scenario,
    make_deploy,
    rendered,
    tgi,
    with_engine,
)

MODEL = "meta-llama/Llama-2-7b-chat-hf"


def test_a_server_of_vllm_gets_exactly_these_words() -> None:
    found = container(rendered())
    assert found["command"] == ["vllm", "serve"]
    assert found["args"] == [
        MODEL,
        "--served-model-name",
        "chatbot",
        MODEL,
        "--port=8000",
        "--max-model-len=2048",
        "--max-num-seqs=16",
        "--max-num-batched-tokens=8192",
        "--gpu-memory-utilization=0.92",
        "--tensor-parallel-size=1",
        "--pipeline-parallel-size=1",
        "--dtype=float16",
        "--kv-cache-dtype=float16",
        "--shutdown-timeout=30",
        "--disable-access-log-for-endpoints=/health,/metrics,/ping",
    ]


def test_a_server_of_tgi_gets_exactly_these_words() -> None:
    found = container(rendered(tgi()))
    assert "command" not in found  # the image's entry point is the launcher
    assert found["args"] == [
        f"--model-id={MODEL}",
        "--hostname=0.0.0.0",
        "--port=8000",
        "--num-shard=1",
        "--cuda-memory-fraction=1",
        "--max-total-tokens=2048",
        "--max-input-tokens=2047",
        "--max-batch-prefill-tokens=8192",
        "--max-batch-size=16",
        "--max-concurrent-requests=128",
        "--dtype=float16",
        "--graceful-termination-timeout=30",
        "--usage-stats=off",
    ]


def test_a_batch_runner_gets_exactly_these_words() -> None:
    driver, engine = driven(container(rendered(None, make_batch_deploy(), scenario=make_batch_scenario())))
    assert driver == [
        "generate",
        "--input=/batch/in.jsonl",
        "--output=/batch/out.jsonl",
        "--image=vllm/vllm-openai:v0.33.0",
    ]
    assert engine[:6] == ["vllm", "run-batch", f"--model={MODEL}", "--served-model-name", "nightly", MODEL]
    assert flag(engine, "--max-num-seqs") == "16"
    assert flag(engine, "--port") is None  # run-batch has none unless it shows metrics
    assert flag(engine, "--shutdown-timeout") is None
    # the driver's to give: the runner would write into the file of answers from its first second
    assert flag(engine, "--input-file") is flag(engine, "--output-file") is None


def driven(found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Words of the driver, without its text, and of the engine behind it."""
    assert found["command"] == ["python3"]
    assert found["args"][:2] == ["-c", Path(batch_driver.__file__).read_text(encoding="utf-8")]
    cut = found["args"].index("--")
    return found["args"][2:cut], found["args"][cut + 1 :]


def test_the_driver_fits_one_word_of_a_command() -> None:
    assert Path(batch_driver.__file__).stat().st_size < 128 * 1024  # Linux: MAX_ARG_STRLEN, the string's end included
    assert "$(" not in Path(batch_driver.__file__).read_text(encoding="utf-8")  # Kubernetes would fill in variables


def test_a_batch_of_a_classifier_runs_behind_the_pooling_endpoint() -> None:
    scenario = make_batch_scenario(task=Task.CLASSIFICATION)
    driver, engine = driven(container(rendered(None, make_batch_deploy(), scenario=scenario)))
    assert driver == [
        "classify",
        "--input=/batch/in.jsonl",
        "--output=/batch/out.jsonl",
        "--image=vllm/vllm-openai:v0.33.0",
        "--parallel=2",
        "--start-within=735",
    ]
    assert engine[:4] == ["vllm", "serve", MODEL, "--served-model-name=nightly"]
    assert flag(engine, "--host") == "127.0.0.1"
    assert flag(engine, "--runner") == "pooling"
    assert flag(engine, "--convert") == "classify"


def test_a_classifier_that_serves_is_told_to_pool() -> None:
    words = container(rendered(scenario=make_scenario(task=Task.CLASSIFICATION)))["args"]
    assert (flag(words, "--runner"), flag(words, "--convert")) == ("pooling", "classify")


def test_a_pinned_commit_pins_weights_and_tokenizer() -> None:
    plan = configured(checkpoint=Checkpoint("a/b", "fp16", Quantization.FP16, revision="0123abc"))
    words = container(rendered(plan))["args"]
    assert words[0] == "a/b"
    assert flag(words, "--revision") == flag(words, "--tokenizer-revision") == "0123abc"
    assert flag(container(rendered(tgi(plan)))["args"], "--revision") == "0123abc"


def test_only_what_is_quantized_while_loading_is_named() -> None:
    method = make_method(id="fp8_online", flag="fp8", made_while_loading=True, weight_bits=8.02)
    made = Checkpoint("a/b", "fp8_online", Quantization.FP8, made_while_loading=True)
    stored = replace(made, made_while_loading=False)
    assert flag(container(rendered(configured(method=method, checkpoint=made)))["args"], "--quantization") == "fp8"
    assert flag(container(rendered(configured(method=method, checkpoint=stored)))["args"], "--quantization") is None
    words = container(rendered(tgi(configured(method=method, checkpoint=made))))["args"]
    assert flag(words, "--quantize") == "fp8"
    assert flag(words, "--dtype") is None  # the launcher refuses both together


def test_a_cache_of_8_bits_is_named_as_each_engine_spells_it() -> None:
    plan = configured(kv_dtype=Dtype.FP8)
    assert flag(container(rendered(plan))["args"], "--kv-cache-dtype") == "fp8"
    assert flag(container(rendered(tgi(plan)))["args"], "--kv-cache-dtype") == "fp8_e4m3fn"


DRAFT = SpeculativeDecoding(SpeculativeMethod.DRAFT_MODEL, 3, 0.7, make_model(id="small/one"))
GIB = 2**30


@pytest.mark.parametrize(
    ("started", "words"),
    [
        ({"eager": True}, ["--enforce-eager"]),
        ({"cpu_offload_bytes": 10 * GIB}, ["--cpu-offload-gb=10"]),
        ({"kv_offload_bytes": 48 * GIB}, ["--kv-offloading-size=48"]),
        (
            {"speculative": SpeculativeDecoding(SpeculativeMethod.NGRAM, 4, 0.7)},
            ['--speculative-config={"method": "ngram", "num_speculative_tokens": 4}'],
        ),
        (
            {"speculative": SpeculativeDecoding(SpeculativeMethod.MTP, 1, 0.7)},
            ['--speculative-config={"method": "mtp", "num_speculative_tokens": 1}'],
        ),
        (
            {"speculative": DRAFT},
            [f'--speculative-config={{"method": "draft_model", "num_speculative_tokens": 3, "model": "{MODEL}"}}'],
        ),
    ],
)
def test_a_start_that_is_not_the_engines_own_is_said(started: dict[str, Any], words: list[str]) -> None:
    plain = container(rendered())["args"]
    found = container(rendered(configured(engine=make_engine(**started))))["args"]
    assert [word for word in found if word not in plain] == words


def test_tgi_starts_eager_and_drafts_from_repetitions() -> None:
    plan = tgi()
    decoding = SpeculativeDecoding(SpeculativeMethod.NGRAM, 4, 0.7)
    engine = replace(plan.configuration.engine, eager=True, speculative=decoding)
    found = container(rendered(configured(plan, engine=engine)))["args"]
    assert [word for word in found if word not in container(rendered(plan))["args"]] == [
        "--cuda-graphs=0",
        "--speculate=4",
    ]


def test_a_draft_is_loaded_from_its_16_bit_weights() -> None:
    stored = (Checkpoint("small/one-FP8", "fp8", Quantization.FP8), Checkpoint("small/one", "bf16", Quantization.BF16))
    draft = replace(DRAFT, draft=make_model(checkpoints=stored))
    args = container(rendered(configured(engine=make_engine(speculative=draft))))["args"]
    assert '"model": "small/one"' in next(word for word in args if word.startswith("--speculative-config"))


def test_prefix_caching_is_asked_for_where_the_prediction_counts_on_it() -> None:
    shared = make_scenario(workload=make_workload(shared_prefix_tokens=100))
    assert "--enable-prefix-caching" in container(rendered(scenario=shared))["args"]
    assert "--enable-prefix-caching" not in container(rendered())["args"]


@pytest.mark.parametrize("task", list(Task))
def test_pods_of_a_batch_run_share_its_items(task: Task) -> None:
    found = rendered(configured(replicas=4), make_batch_deploy(), scenario=make_batch_scenario(task=task))
    job = found["Job"].body["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 4, 4)
    assert "--output=/batch/out-$(SHARD).jsonl" in container(found)["args"]
    assert [item["name"] for item in container(found)["env"]][:3] == ["JOB", "SHARD", "SHARDS"]


def test_a_scheduled_run_keeps_to_its_time_zone_and_window() -> None:
    scenario = make_batch_scenario(schedule=Schedule("0 1 * * *", "Europe/Berlin", 300))
    spec = rendered(None, make_batch_deploy(), scenario=scenario)["CronJob"].body["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 1 * * *", "Europe/Berlin")
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 300 * 60
    assert spec["startingDeadlineSeconds"] == 300 * 60 - 3600  # started later, it could not end within the window


def test_the_users_own_flags_come_last() -> None:
    scenario = with_engine(extra_args=("--max_num_partial", "--enable-log-requests"))
    with pytest.raises(Exception, match="max_num_partial"):
        rendered(scenario=scenario)
    scenario = with_engine(extra_args=("--enable_log_requests", "--seed", "7", "--compilation-config.level=3"))
    assert container(rendered(scenario=scenario))["args"][-3:] == [
        "--enable-log-requests",
        "--seed=7",
        "--compilation-config.level=3",
    ]


def test_extra_flags_of_a_batch_run_are_those_of_its_own_command() -> None:
    scenario = make_batch_scenario(engine=EnginePolicy(extra_args=("--uvicorn-log-level=debug",)))
    with pytest.raises(Exception, match="belongs to the engine's server, not to its batch"):
        rendered(None, make_batch_deploy(), scenario=scenario)


def test_memory_fractions_of_tgi_are_shares_of_what_it_takes() -> None:
    plan = replace(tgi(), configuration=replace(tgi().configuration, gpu_memory_utilization=0.45))
    assert flag(container(rendered(plan))["args"], "--cuda-memory-fraction") == "0.5"


def test_a_custom_model_is_served_under_its_own_name_and_the_scenarios() -> None:
    plan = configured(model=make_model(id="org/mine"), checkpoint=Checkpoint("org/mine", "fp16", Quantization.FP16))
    words = container(rendered(plan, make_deploy()))["args"]
    assert words[:4] == ["org/mine", "--served-model-name", "chatbot", "org/mine"]


def test_a_model_that_could_take_images_is_started_without_them() -> None:
    seeing = make_model(architecture="Gemma3ForConditionalGeneration")
    assert "--language-model-only" in container(rendered(configured(model=seeing)))["args"]
    assert "--language-model-only" not in container(rendered())["args"]
    plan = configured(model=seeing)
    with_images = configured(plan, engine=replace(plan.configuration.engine, text_only=False))
    assert "--language-model-only" not in container(rendered(with_images))["args"]


def test_a_sixteen_bit_cache_is_asked_for_in_words_whatever_the_checkpoint_asks_for() -> None:
    asking = Checkpoint("nvidia/x-FP8", "fp8", Quantization.FP8, kv_cache_dtype=Dtype.FP8)
    plan = configured(checkpoint=asking, compute_dtype=Dtype.BFLOAT16, kv_dtype=Dtype.BFLOAT16)
    words = container(rendered(plan))["args"]
    assert (flag(words, "--dtype"), flag(words, "--kv-cache-dtype")) == ("bfloat16", "bfloat16")
