"""``inferplan plan --from-command``: a copied line becomes a pin, and is told what is thought of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inferplan.api.command_models import FoundModel, find_model
from inferplan.api.from_command import FromCommand
from inferplan.catalog import load_catalog
from inferplan.cli.from_command import CommandAnswer, answer_command, as_scenario, read_command
from inferplan.domain.errors import InputError
from inferplan.domain.model import Task
from inferplan.domain.scenario import CustomModel
from inferplan.planner.candidates import custom_model
from inferplan.report.command import verdict
from inferplan.report.plan import report
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
        ("meta-llama/Llama-3.1-8B", LLAMA, None),
        ("meta-llama/Meta-Llama-3-8B", LLAMA, None),
        ("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-Instruct-v0.3", None),
        ("microsoft/Phi-3-mini-4k-instruct", "microsoft/Phi-3.5-mini-instruct", None),
        ("openai/gpt-oss-safeguard-20b", "openai/gpt-oss-20b", "MXFP4"),
    ],
)
def test_other_weights_of_a_known_shape_are_served_themselves(repository: str, base: str, stored: str | None) -> None:
    line = f"{repository} --max-model-len 4096"
    found = spec(line, "h100-80gb-sxm")
    custom = {"repository": repository, "base": base} | ({} if stored is None else {"quantization": stored})
    assert found["model"] == {"custom": custom}
    assert "model" not in found["select"]["pin"]
    said = notes(line, "h100-80gb-sxm")
    assert f"{repository} is not in the catalog: layers and widths are those of {base}" in said
    assert "is assumed, and its quality is unknown" in said
    assert "the model's own" not in said
    chosen = answer(line, "h100-80gb-sxm").outcome.chosen
    assert chosen is not None
    assert chosen.configuration.checkpoint.repository == repository


@pytest.mark.parametrize("flags", ["", "--max-model-len auto", "--max-model-len -1", "--max-model-len 262144"])
def test_the_context_of_other_weights_is_asked_for(flags: str) -> None:
    said = refusal(f"Qwen/Qwen3-Coder-30B-A3B-Instruct {flags}", "h100-80gb-sxm")
    assert "--max-model-len" in said
    assert "how long a context Qwen/Qwen3-Coder-30B-A3B-Instruct takes is not in the catalog" in said


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Qwen/Qwen3-4B-Thinking-2507", "Qwen/Qwen3-4B"),
        ("unsloth/Llama-3.1-8B-Instruct", LLAMA),
        ("someone/Qwen3-8B-w4a16", QWEN),
        ("/models/Qwen3-8B-tuned", QWEN),
        ("Llama-2-7b", "meta-llama/Llama-2-7b-chat-hf"),
    ],
)
def test_a_likeness_of_names_is_no_model(name: str, near: str) -> None:
    said = refusal(f"{name} --max-model-len 4096", "h100-80gb-sxm")
    assert f'model "{name}" is not in the catalog' in said
    assert near in said


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-VL-7B-Instruct", "mistralai/Mistral-Small-3.2-24B-Instruct-2506"])
def test_a_vision_model_is_not_sized_as_its_language_part(name: str) -> None:
    assert "has a vision tower" in refusal(f"{name} --max-model-len 4096", "h100-80gb-sxm")


def test_every_listed_checkpoint_is_the_one_that_is_served() -> None:
    for model in CATALOG.models:
        for checkpoint in model.checkpoints:
            found = find_model(checkpoint.repository, CATALOG)
            assert isinstance(found, FoundModel)
            assert (found.model, found.repository, found.borrowed) == (model, checkpoint.repository, False)
            alike = [c for c in model.checkpoints if c.quantization is checkpoint.quantization]
            assert found.pinned == (len(alike) == 1)
            own = CustomModel(checkpoint.repository, None, model.id, None, Task.GENERATION, checkpoint.quantization)
            custom = custom_model(own, CATALOG)
            assert custom is not None
            assert custom.checkpoints == (replace(checkpoint, revision=None),)


def test_a_renamed_repository_is_the_same_model() -> None:
    assert pin("meta-llama/Meta-Llama-3.1-8B-Instruct --max-model-len 4096")["model"] == LLAMA


@pytest.mark.parametrize(
    ("line", "gpu", "said"),
    [
        ("deepseek-ai/DeepSeek-R1 --data-parallel-size 8 --enable-expert-parallel", "h200-141gb-sxm",
         "--data-parallel-size 8 with --enable-expert-parallel: data-parallel attention"),
        ("Qwen/Qwen3-30B-A3B -dp 2", "h100-80gb-sxm", "--data-parallel-size 2: data-parallel attention"),
        (f"{QWEN} --enable-expert-parallel", "l4", "has no experts, so vLLM does not start"),
        (QWEN + """ --hf-overrides '{"rope_parameters":{"rope_type":"yarn","factor":4.0}}' --max-model-len 131072""",
         "h100-80gb-sxm", "--hf-overrides changes the model or its memory"),
        (QWEN + """ --trust-remote-code --hf-overrides '{"max_position_embeddings": 131072}'""",
         "h100-80gb-sxm", "--hf-overrides changes the model or its memory"),
        (f"{QWEN} --kv-cache-memory-bytes 10G", "l4", "--kv-cache-memory-bytes changes the model or its memory"),
        (f"{QWEN} --prefill-context-parallel-size 2", "l4", "--prefill-context-parallel-size changes the model"),
        (f"{QWEN} -pp 4", "l4", "write --tensor-parallel-size 4 instead"),
        (f"{QWEN} -tp 0", "l4", "--tensor-parallel-size 0: must be at least 1"),
        (f"{QWEN} -dp 0", "l4", "--data-parallel-size 0: must be at least 1"),
        (f"{QWEN} -tp two", "l4", "write a whole number such as 2"),
        (f"{QWEN} --max-model-len 8,192", "l4", "write 8192"),
        (f"{QWEN} --max-model-len -5", "l4", "--from-command: --max-model-len: "),
        (f"{QWEN} --gpu-memory-utilization 90%", "l4", "write 0.9"),
        (f"{QWEN} --limit-mm-per-prompt image=0", "l4", 'write {"image": 0}'),
        (f"{QWEN} --max-num-seqs 4096 --max-num-batched-tokens 2048", "l4", "raise --max-num-batched-tokens"),
        (f"{QWEN} --spec-method ngram --spec-tokens 100", "l4", "write a whole number from 1 to 64"),
        (f"{QWEN} --spec-method ngram", "l4", "needs num_speculative_tokens"),
        (QWEN + """ --speculative-config '{"method": "ngram", "num_speculative_tokens": "x"}'""", "l4",
         'num_speculative_tokens "x" is not possible'),
        (f"{QWEN} --spec-model Qwen/Qwen3-0.6B --spec-tokens 32 --max-num-batched-tokens 32 --max-num-seqs 8", "l4",
         "no room for 32 drafted tokens"),
        ("TheBloke/Llama-3.1-8B-Instruct-GGUF", "l4", "name a repository with the weights in 16 bit"),
    ],
)  # fmt: skip
def test_what_no_verdict_can_rest_on_is_refused_by_its_flag(line: str, gpu: str, said: str) -> None:
    told = refusal(line, gpu)
    assert said in told
    assert "spec." not in told
    assert ":20" not in told


def test_keys_of_speculative_decoding_are_not_dropped_in_silence() -> None:
    config = '{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4, "prompt_lookup_min": 2}'
    said = notes(f"{QWEN} --max-model-len 8192 --speculative-config '{config}'", "h100-80gb-sxm")
    assert "--speculative-config: prompt_lookup_max, prompt_lookup_min left out" in said


@pytest.mark.parametrize(
    ("around", "told", "silent"),
    [
        ("CUDA_VISIBLE_DEVICES=0 vllm serve", "environment (CUDA_VISIBLE_DEVICES): left out", "tokenSecretRef"),
        ("HF_TOKEN=x vllm serve", "download belongs in deploy.tokenSecretRef", "gateway"),
        ("VLLM_API_KEY=x vllm serve", "asks for no key, so put a gateway", "environment (HF_TOKEN"),
    ],
)
def test_each_variable_is_told_where_it_belongs(around: str, told: str, silent: str) -> None:
    said = "\n".join(read_command(f"{around} {QWEN} --max-model-len 4096", "l4", CATALOG).notes)
    assert told in said
    assert silent not in said


def test_a_server_over_machines_is_not_said_to_start() -> None:
    found = answer(f"{LLAMA} -tp 8 -pp 2 --max-model-len 4096 --max-num-seqs 8")
    said = "\n".join(verdict(found.outcome, found.crowded, found.notes).points)
    assert "✅ starts" not in said


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
    assert "--api-key: left out; the planned server asks for no key, so put a gateway" in said
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
        (f"{QWEN} --max-num-seqs 0 --max-model-len 4096", "--from-command: --max-num-seqs: must be at least 1"),
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
    told = found.report(report(found.outcome))
    assert "the price is the electricity alone" in told.headline
    assert any(point.startswith("electricity alone: ") for point in told.sections[0].points)
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
