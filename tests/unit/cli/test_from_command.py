"""``inferplan plan --from-command``: a copied line becomes a pin, and is told what is thought of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inferplan.api.from_command import FromCommand
from inferplan.catalog import load_catalog
from inferplan.cli.from_command import CommandAnswer, answer_command, as_scenario, read_command
from inferplan.domain.errors import InputError
from tests.unit.cli.conftest import Cli

CATALOG = load_catalog()
DRAFT = {"method": "DraftModel", "model": "Qwen/Qwen3-0.6B"}
LLAMA, QWEN = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-8B"


def answer(line: str, gpu: str = "l4") -> CommandAnswer:
    return answer_command(f"vllm serve {line}", gpu, CATALOG, None)


def read(line: str, gpu: str = "l4") -> FromCommand:
    found = read_command(f"vllm serve {line}", gpu, CATALOG)
    as_scenario(found.document, CATALOG)  # raises if the scenario is wrong
    return found


def spec(line: str, gpu: str = "l4") -> dict[str, Any]:
    found: dict[str, Any] = read(line, gpu).document["spec"]
    return found


def pin(line: str, gpu: str = "l4") -> dict[str, Any]:
    found: dict[str, Any] = spec(line, gpu)["select"]["pin"]
    return found


def notes(line: str, gpu: str = "l4") -> str:
    return "\n".join(read(line, gpu).notes)


def refusal(line: str, gpu: str | None = "l4") -> str:
    with pytest.raises(InputError) as refused:
        as_scenario(read_command(f"vllm serve {line}", gpu, CATALOG).document, CATALOG)
    return str(refused.value)


def test_what_a_command_leaves_out_is_the_engines_own() -> None:
    assert pin(QWEN) == {
        "model": QWEN,
        "quantization": "BF16",
        "gpu": "l4",
        "gpusPerReplica": 1,
        "replicas": 1,
        "maxNumSeqs": 256,
        "maxModelLen": 40_960,
        "engine": "vLLM",
    }
    assert pin(QWEN, "h100-80gb-sxm")["maxNumSeqs"] == 1024
    assert pin(QWEN, "a100-80gb-sxm")["maxNumSeqs"] == 256
    assert pin(f"{QWEN} --max-num-batched-tokens 128")["maxNumSeqs"] == 128


def test_every_setting_becomes_its_field() -> None:
    found = pin(
        f"{QWEN} -tp 2 -pp 1 -dp 3 --max-num-seqs 16 --max-model-len 8k --gpu-memory-utilization 0.90"
        " --max-num-batched-tokens 4K --kv-cache-dtype fp8_e4m3 --enforce-eager --cpu-offload-gb 2"
        " --kv-offloading-size 10.4 --spec-method ngram --spec-tokens 4"
    )
    assert found == {
        "model": QWEN,
        "quantization": "BF16",
        "gpu": "l4",
        "gpusPerReplica": 2,
        "replicas": 3,
        "maxNumSeqs": 16,
        "maxModelLen": 8000,
        "engine": "vLLM",
        "gpuMemoryUtilization": "0.9",
        "maxNumBatchedTokens": 4096,
        "kvCacheType": "fp8",
        "execution": "Eager",
        "cpuOffloadGib": 2,
        "kvOffloadGib": 10,
        "speculativeDecoding": {"method": "Ngram", "tokens": 4},
    }


@pytest.mark.parametrize(
    ("model", "quantization"),
    [
        (LLAMA, "BF16"),
        (LLAMA.upper(), "BF16"),
        ("Qwen/Qwen3-8B-FP8", "FP8"),
        ("openai/gpt-oss-20b", "MXFP4"),
        ("/models/Qwen3-8B", "BF16"),
        ("./Qwen3-8B-AWQ/", "INT4"),
    ],
)
def test_a_listed_checkpoint_gives_model_and_format(model: str, quantization: str) -> None:
    found = spec(f"{model} --max-model-len 4096", "h100-80gb-sxm")
    assert found["select"]["pin"]["quantization"] == quantization
    assert CATALOG.model(found["select"]["pin"]["model"]) is not None
    assert "model" not in found


@pytest.mark.parametrize(
    ("repository", "base", "stored"),
    [
        ("RedHatAI/Some-Llama-3.1-8B-Instruct-FP8-dynamic", LLAMA, "FP8"),
        ("someone/Qwen3-8B-w4a16", QWEN, "INT4"),
        ("unsloth/Llama-3.1-8B-Instruct", LLAMA, None),
    ],
)
def test_an_unlisted_checkpoint_is_read_by_its_name_and_kept(repository: str, base: str, stored: str | None) -> None:
    found = spec(f"{repository} --max-model-len 4096", "h100-80gb-sxm")
    custom = {"repository": repository, "base": base} | ({} if stored is None else {"quantization": stored})
    assert found["model"] == {"custom": custom}
    assert "model" not in found["select"]["pin"]
    assert f"{repository}: taken for {base}" in notes(f"{repository} --max-model-len 4096", "h100-80gb-sxm")


def test_a_commit_makes_the_weights_ones_own() -> None:
    assert spec(f"{QWEN} --revision abc123")["model"]["custom"] == {
        "repository": QWEN,
        "base": QWEN,
        "revision": "abc123",
    }


def test_quantizing_while_loading_is_a_format_of_the_pin() -> None:
    line = "microsoft/phi-4 --quantization fp8 --max-model-len 4096"
    assert pin(line)["quantization"] == "FP8"
    assert "published FP8 weights" in notes(f"{QWEN} -q fp8")
    assert "left out, the checkpoint says that it is FP8" in notes("Qwen/Qwen3-8B-FP8 --quantization fp8")
    assert "needs weights in that format" in refusal(f"{QWEN} --quantization awq")


def test_the_longest_context_is_found_where_the_engine_would_look_for_it() -> None:
    found = answer(f"{LLAMA} --max-model-len auto")
    assert found.outcome.chosen is not None
    length = found.outcome.chosen.configuration.max_model_len
    assert length == found.outcome.chosen.estimate.memory.longest_context_tokens
    assert 0 < length < 131_072
    assert f"the longest that fits, {length:,} tokens" in "\n".join(found.notes)
    too_long = answer(f"{LLAMA} --max-model-len {length + 1}")
    assert too_long.outcome.chosen is None


@pytest.mark.parametrize(
    ("flags", "modalities"),
    [
        ("", "All"),
        ("--language-model-only", "Text"),
        ("""--limit-mm-per-prompt '{"image": 0, "video": 0}'""", "Text"),
        ("--limit-mm-per-prompt.image 0", "Text"),
        ("""--limit-mm-per-prompt '{"image": {"count": 2}}'""", "All"),
    ],
)
def test_a_multimodal_model_is_served_for_what_the_command_lets_through(flags: str, modalities: str) -> None:
    found = pin(f"google/gemma-3-4b-it --max-model-len 8192 {flags}")
    assert found["modalities"] == modalities


@pytest.mark.parametrize(
    ("config", "written"),
    [
        ('{"model": "Qwen/Qwen3-0.6B", "num_speculative_tokens": 3}', DRAFT),
        ('{"method": "draft_model", "model": "Qwen/Qwen3-0.6B", "num_speculative_tokens": 3}', DRAFT),
        ('{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}', {"method": "Ngram"}),
        ('{"model": "[ngram]", "num_speculative_tokens": 3}', {"method": "Ngram"}),
    ],
)
def test_speculative_decoding_is_read(config: str, written: dict[str, str]) -> None:
    line = f"{QWEN} --max-model-len 8192 --speculative-config '{config}'"
    assert pin(line, "h100-80gb-sxm")["speculativeDecoding"] == {"tokens": 3, **written}


def test_drafting_with_the_models_own_layer_needs_one() -> None:
    line = "Qwen/Qwen3.6-27B --max-model-len 8192 --speculative-config.method qwen3_next_mtp"
    assert pin(line, "h100-80gb-sxm")["speculativeDecoding"] == {"method": "Mtp", "tokens": 1}
    assert "has no multi-token-prediction layer" in refusal(f"{QWEN} --spec-method mtp --max-model-len 8192")
    assert 'speculative method "eagle3" cannot be planned' in refusal(f"{QWEN} --spec-method eagle3 --spec-model a/b")


def test_the_users_own_flags_stay_and_the_pods_go() -> None:
    line = (
        f"{QWEN} --max-model-len 8192 --host 0.0.0.0 --port 80 --api-key s3cret --served-model-name my_model other"
        " --tool-call-parser hermes --enable-auto-tool-choice --no-enable-prefix-caching --chat-template x.jinja"
        " --compilation-config.level 3 --swap-space 4 --no-such-flag 1"
    )
    assert spec(line)["engine"] == {
        "extraArgs": [
            "--tool-call-parser=hermes",
            "--enable-auto-tool-choice",
            "--no-enable-prefix-caching",
            '--compilation-config={"level": 3}',
        ]
    }
    found = read(line)
    said = "\n".join(found.notes)
    assert "s3cret" not in said + repr(found.document)
    assert found.document["metadata"]["name"] == "my-model"
    assert f"--served-model-name my_model other: clients ask for my-model (the scenario's name) or {QWEN}" in said
    assert "--host, --port: left out, decided by how the pod is wired" in said
    assert "--api-key: left out, a Secret holds it" in said
    assert "--chat-template: left out, needs engine.remoteCode: Allow" in said
    assert "--swap-space: vLLM 0.33.0 has no such flag (leave it out" in said
    assert "--no-such-flag: vLLM 0.33.0 has no such flag" in said


def test_trust_in_code_is_kept_with_what_needs_it() -> None:
    engine = spec(f"{QWEN} --max-model-len 8192 --trust-remote-code --chat-template /x.jinja")["engine"]
    assert engine == {"remoteCode": "Allow", "extraArgs": ["--trust-remote-code", "--chat-template=/x.jinja"]}


def test_a_classifier_generates_nothing() -> None:
    found = spec("Qwen/Qwen3-0.6B --max-model-len 4096 --runner pooling --convert classify")
    assert found["task"] == "Classification"
    assert "outputTokens" not in found["workload"]
    assert "embedding and scoring servers are not planned" in refusal("Qwen/Qwen3-0.6B --task embed")


def test_a_short_context_has_short_requests() -> None:
    load = spec(f"{QWEN} --max-model-len 256")["workload"]
    assert load["promptTokens"]["p95"] + load["outputTokens"]["p95"] <= 256


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{QWEN} --gpu-memory-utilization 1.2", "1.2 is not a share of a GPU"),
        (f"{QWEN} --kv-cache-dtype nvfp4", "--kv-cache-dtype nvfp4 cannot be planned"),
        (f"{QWEN} --cpu-offload-gb inf", "--cpu-offload-gb inf is not a size"),
        (f"{QWEN} --cpu-offload-gb -3", "--cpu-offload-gb -3 is not a size"),
        (f"{QWEN} --dtype float32", "--dtype float32 cannot be planned"),
        (f"{QWEN} --gpu-memory-utilization nan", "nan is not a share of a GPU"),
        (f"{QWEN} --max-num-seqs 0 --max-model-len 4096", "select.pin.maxNumSeqs: must be at least 1"),
        ("nobody/nothing-7b", 'model "nobody/nothing-7b" is not in the catalog'),
        ("TheBloke/Llama-3.1-8B-Instruct-GGUF", "GGUF weights"),
        ("unsloth/Qwen3-8B-bnb-4bit", "bitsandbytes weights"),
        (
            f"{QWEN} --max-num-seqs 512 --max-num-batched-tokens 256",
            "each sequence needs one token per step, so 512 do not fit in 256",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_reason(line: str, said: str) -> None:
    assert said in refusal(line)


def test_the_gpu_has_to_be_named() -> None:
    assert "--gpu: a vLLM command does not say on which GPU it runs" in refusal(QWEN, None)
    assert 'unknown GPU "l5"' in refusal(QWEN, "l5")


def test_a_server_that_starts_is_told_what_it_can_do(cli: Cli) -> None:
    ended = cli("plan", "--gpu", "l4", "--from-command", f"vllm serve {QWEN} --max-model-len 8192")
    assert ended.code == 0
    assert ended.err == ""
    for text in ("The command", "✅ starts", "longest context that fits", "one user alone", "running at once", "cost:"):
        assert text in ended.out


def test_a_server_that_does_not_start_is_told_why_and_what_would(cli: Cli) -> None:
    ended = cli("plan", "--gpu", "l4", "--from-command", f"vllm serve {LLAMA}")
    assert ended.code == 3
    assert "❌ does not run as it stands" in ended.out
    assert "select.pin.maxModelLen" in ended.out


def test_data_and_the_scenario_can_be_kept(cli: Cli, tmp_path: Path) -> None:
    kept = tmp_path / "server.yaml"
    command = f"vllm serve {QWEN} --max-model-len 8192 --port 1234"
    ended = cli(
        "plan", "--gpu", "l4", "--from-command", "-", "-o", "json", "--write-scenario", kept, stdin=command.encode()
    )
    assert ended.code == 0
    assert "--port: left out" in ended.err
    again = cli("plan", kept, "-o", "json")
    assert json.loads(again.out)["plan"] == json.loads(ended.out)["plan"]


def test_a_gpu_that_nobody_rents_out_is_planned_where_it_stands() -> None:
    line = "Qwen/Qwen3.6-27B-FP8 -tp 2 --max-model-len 32768 --kv-cache-dtype fp8 --max-num-seqs 2"
    found = answer(line, "rtx-3090")
    assert found.outcome.chosen is not None
    assert found.outcome.chosen.source == "Owned"
    assert "only their electricity is counted" in "\n".join(found.notes)
    assert "source: Owned" in found.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "FILE: nothing to plan"),
        (["x.yaml", "--from-command", "vllm serve a", "--gpu", "l4"], "takes the place of scenario files"),
        (["x.yaml", "--gpu", "l4"], "--gpu: belongs to --from-command"),
        (["x.yaml", "--write-scenario", "y.yaml"], "--write-scenario: belongs to --from-command"),
    ],
)
def test_files_and_a_command_exclude_each_other(cli: Cli, arguments: list[str], said: str) -> None:
    ended = cli("plan", *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_help_teaches_with_an_example(cli: Cli) -> None:
    assert "--from-command" in cli("plan", "--help").out
