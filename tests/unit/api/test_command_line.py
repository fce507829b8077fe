"""Copied lines: what of them is the engine's, and how its flags are read."""

from __future__ import annotations

import pytest

from inferplan.api.command_flags import CommandFlags, read_flags
from inferplan.api.command_line import read_engine_line
from inferplan.catalog import load_catalog
from inferplan.domain.errors import InputError
from inferplan.render.flag_list import flags_of

ENGINE = load_catalog().engine("vllm")
assert ENGINE is not None
VLLM = flags_of(ENGINE)


def words(text: str) -> list[str]:
    return list(read_engine_line(text).words)


def flags(line: str) -> CommandFlags:
    return read_flags(read_engine_line(f"vllm serve {line}").words, VLLM)


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve a/b -tp 2",
        "$ vllm serve a/b -tp 2",
        "  # vllm serve a/b -tp 2",
        "vllm serve a/b \\\n  -tp 2",
        "vllm serve a/b \\\r\n  -tp 2 \\",
        "vllm serve a/b \\  -tp 2",
        "vllm serve a/b\n  -tp 2",
        "vllm serve a/b \\  # the model\n  -tp 2  # two GPUs",
        "vllm serve a/b -tp 2 > vllm.log 2>&1 &",
        "nohup vllm serve a/b -tp 2 2>/dev/null | tee log",
        "pip install vllm && vllm serve a/b -tp 2",
        "pip install vllm\nvllm serve a/b -tp 2\ncurl localhost:8000/health",
        "uv run vllm serve a/b -tp 2",
        "sudo /opt/venv/bin/vllm serve a/b -tp 2",
        "CUDA_VISIBLE_DEVICES=0,1 HF_TOKEN='x y' vllm serve a/b -tp 2",
        "export MODEL=a/b\nvllm serve $MODEL -tp ${TP:-2}",
        "python3 -m vllm.entrypoints.openai.api_server a/b -tp 2",
        "srun --gres=gpu:2 vllm serve a/b -tp 2",
        "docker run --gpus all -p 8000:8000 --ipc=host vllm/vllm-openai:v0.33.0 a/b -tp 2",
        "docker run -it --rm --gpus=all -v ~/.cache/vllm:/x -e A=b reg/vllm@sha256:00 vllm serve a/b -tp 2",
        'docker run --entrypoint bash vllm/vllm-openai -c "pip install x && vllm serve a/b -tp 2"',
        "docker run --entrypoint vllm my/image serve a/b -tp 2",
        "podman run --device nvidia.com/gpu=all docker.io/vllm/vllm-openai:latest a/b -tp 2",
        "kubectl exec -it pod -- vllm serve a/b -tp 2",
        "vllm serve “a/b” -tp 2",
    ],
)
def test_whatever_stands_around_it_the_engines_words_are_found(text: str) -> None:
    assert words(text) == ["a/b", "-tp", "2"]


def test_a_long_dash_is_two_short_ones() -> None:
    assert words("vllm serve a/b –max-model-len 4096") == ["a/b", "--max-model-len", "4096"]


def test_what_the_container_and_the_shell_set_is_known_by_name_and_never_by_value() -> None:
    line = read_engine_line(
        'TOKEN=s3cret docker run -e "HF_TOKEN=<secret>" --env=A=s3cret vllm/vllm-openai:v1 --model a'
    )
    assert (line.image, line.variables, line.container) == ("vllm/vllm-openai:v1", ("TOKEN", "HF_TOKEN", "A"), True)
    assert "s3cret" not in repr(line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "starts no vLLM server"),
        ("python -m sglang.launch_server --model-path a/b", "starts no vLLM server"),
        ("docker run nginx", "starts no vLLM server"),
        ("docker run --gpus", "starts no vLLM server"),
        ("vllm bench serve", "starts no vLLM server"),
        ("vllm serve 'a/b", "cannot be read: no closing quotation"),
        ("vllm serve $MODEL -tp $TP", "$MODEL has no value here"),
        ('bash -c "echo hello"', "starts no vLLM server"),
    ],
)
def test_what_starts_no_server_is_refused_with_what_would(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_engine_line(text)
    assert said in str(refused.value)


@pytest.mark.parametrize("model", ["a/b --seed 1", "--seed 1 --model a/b", "--model=a/b --seed=1", "--seed=1 a/b"])
def test_the_model_is_found_wherever_it_stands(model: str) -> None:
    found = flags(model)
    assert (found.model, found.faults) == ("a/b", ())
    assert found.given["--seed"].value == "1"


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("a -tp 4", "--tensor-parallel-size", "4"),
        ("a -tp=4", "--tensor-parallel-size", "4"),
        ("a --tensor_parallel_size 4", "--tensor-parallel-size", "4"),
        ("a --tensor-parallel 4", "--tensor-parallel-size", "4"),  # argparse takes abbreviations
        ("a --device-memory-utilization 0.9", "--gpu-memory-utilization", "0.9"),
        ("a --max-model-len -1", "--max-model-len", "-1"),
        ("a --seed 1 --seed 2", "--seed", "2"),
        ("a -O3", "--optimization-level", "3"),
        ("a -O 2", "--optimization-level", "2"),
    ],
)
def test_every_spelling_that_the_engine_takes_is_read(line: str, name: str, value: str) -> None:
    found = flags(line)
    assert found.faults == ()
    assert found.given[name].value == value


def test_switches_have_opposites() -> None:
    given = flags("a --enforce-eager --no-enable-prefix-caching --disable-chunked-prefill").given
    assert [given[name].on for name in ("--enforce-eager", "--enable-prefix-caching", "--enable-chunked-prefill")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "line",
    [
        """a -sc '{"method": "ngram", "num_speculative_tokens": 3}'""",
        "a --speculative-config.method ngram --speculative-config.num_speculative_tokens=3",
        "a --speculative_config.method=ngram --speculative-config.num_speculative_tokens 3",
        'a --speculative-config {"method":"ngram","num_speculative_tokens":3}',  # a shell has eaten the quotes
    ],
)
def test_an_object_is_read_however_it_is_written(line: str) -> None:
    found = flags(line)
    assert found.faults == ()
    assert found.given["--speculative-config"].keys == {"method": "ngram", "num_speculative_tokens": 3}


def test_flags_that_are_gone_or_never_were_are_told_apart_from_faults() -> None:
    found = flags("a --swap-space 4 --num-scheduler-steps 8 --max-num-sequences 3 --enable-metrics")
    assert [unknown.name for unknown in found.unknown] == [
        "--swap-space",
        "--num-scheduler-steps",
        "--max-num-sequences",
        "--enable-metrics",  # the batch runner's
    ]
    assert "kvOffloadGib" in found.unknown[0].instead
    assert found.unknown[0].values == ("4",)
    assert "--max-num-seqs" in found.unknown[2].instead
    assert found.faults == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--seed 1", "names no model"),
        ("a b", '"b" belongs to no flag'),
        ("a --seed", "--seed needs a value"),
        ("a --max-num-seqs many", '--max-num-seqs: "many" is not a whole number'),
        ("a --max-model-len 8.5K", '"8.5K" is not a whole number'),
        ("a --compilation-config {x", "is not valid JSON"),
    ],
)
def test_what_the_engine_would_refuse_is_a_fault(line: str, said: str) -> None:
    assert any(said in str(fault) for fault in flags(line).faults)


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("a --seed 7", ("--seed=7",)),
        ("a --no_enable_prefix_caching", ("--no-enable-prefix-caching",)),
        ("a --compilation-config.level 3", ('--compilation-config={"level": 3}',)),
        ("a --served-model-name x y", ("--served-model-name", "x", "y")),
    ],
)
def test_a_flag_is_written_again_as_the_engine_takes_it(line: str, again: tuple[str, ...]) -> None:
    (given,) = flags(line).given.values()
    assert given.words == again
