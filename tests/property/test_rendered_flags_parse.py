"""Rendered flags always parse: whatever is planned, the engine's own parser would take every word of it."""

from __future__ import annotations

import argparse
import functools
from dataclasses import replace
from typing import Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st

from inferplan._assets import asset_folder
from inferplan.domain.flags import Command, Flag, FlagList
from inferplan.domain.model import Checkpoint, Dtype, Quantization, Task
from inferplan.domain.operation import Deploy
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import EnginePolicy, LoadKind, Scenario, Schedule
from inferplan.render.flag_list import read_flag_list
from tests.builders import make_engine, make_method, make_scenario, make_workload
from tests.unit.api.outcomes import latency, make_estimate
from tests.unit.render.plans import configured, container, make_batch_deploy, make_deploy, rendered, tgi

LISTS = [read_flag_list(asset_folder("templates") / name) for name in ("vllm/0.33.x", "tgi/3.3.x")]
EXTRA = {
    "vllm": ("--enable-log-requests", "--max-logprobs=5", "--no-enable-chunked-prefill", "--seed=7"),
    "tgi": ("--max-best-of=3", "--disable-grammar-support", "--payload-limit=1000000"),
}


class Refused(Exception):  # noqa: N818 - it is an answer
    """The parser takes a word for wrong."""


class Parser(argparse.ArgumentParser):
    """A parser made of the engine's flag list that takes no abbreviations."""

    def __init__(self, known: FlagList, command: Command) -> None:
        super().__init__(prog=known.engine, allow_abbrev=False, add_help=False)
        self.known = known
        if known.engine == "vllm" and command is Command.SERVER:
            self.add_argument("model_tag")
        for flag in known.flags.values():
            if command in flag.commands:
                self._add(flag)

    def _add(self, flag: Flag) -> None:
        if not flag.takes_value:
            self.add_argument(flag.name, *self.known.opposites(flag), action="append_const", const="")
            return
        several: dict[str, Any] = {"nargs": "+"} if flag.several else {}
        self.add_argument(flag.name, action="append", type=self._value(flag), **several)

    @staticmethod
    def _value(flag: Flag) -> Any:
        def read(text: str) -> str:
            if problem := flag.problem(text):
                raise argparse.ArgumentTypeError(problem)
            return text

        return read

    def error(self, message: str) -> NoReturn:
        raise Refused(message)


@functools.cache
def parser(engine: str, command: Command) -> Parser:
    return Parser(next(known for known in LISTS if known.engine == engine), command)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    made = draw(st.booleans())
    checkpoint = Checkpoint(
        draw(st.sampled_from(["Qwen/Qwen3-8B", "org-1/My_Model.v2"])),
        "fp8_online",
        Quantization.FP8,
        revision=draw(st.none() | st.from_regex(r"[0-9a-f]{7,40}", fullmatch=True)),
        made_while_loading=made,
    )
    estimate = make_estimate(e2e=latency(draw(st.floats(0.001, 1e6))))
    plan = configured(
        checkpoint=checkpoint,
        method=make_method(
            id="fp8_online", made_while_loading=made, flag="fp8", weight_bits=draw(st.sampled_from([8.02, 16]))
        ),
        engine=make_engine(),
        tp_size=draw(st.sampled_from([1, 2, 4, 8])),
        kv_dtype=draw(st.sampled_from([Dtype.FLOAT16, Dtype.BFLOAT16, Dtype.FP8])),
        compute_dtype=draw(st.sampled_from([Dtype.FLOAT16, Dtype.BFLOAT16, Dtype.FLOAT32])),
        max_num_seqs=draw(st.integers(1, 2048)),
        max_num_batched_tokens=draw(st.integers(2048, 65_536)),
        max_model_len=draw(st.integers(2, 10_000_000)),
        gpu_memory_utilization=draw(st.floats(0.01, 1.0)),
        replicas=draw(st.integers(1, 16)),
    )
    return replace(plan, estimate=estimate)


@st.composite
def scenarios(draw: st.DrawFn, engine: str = "vllm") -> Scenario:
    batch = engine == "vllm" and draw(st.booleans())
    extra = draw(st.lists(st.sampled_from(EXTRA[engine]), unique=True).map(tuple))
    work = make_workload(shared_prefix_tokens=draw(st.sampled_from([0, 100])))
    if batch:
        schedule = draw(st.none() | st.just(Schedule("0 1 * * *", "Europe/Berlin", 300)))
        work = replace(
            work, kind=LoadKind.OFFLINE, concurrent_users=None, items=9, deadline_s=3600.0, schedule=schedule
        )
    task = Task.GENERATION if engine == "tgi" else draw(st.sampled_from(list(Task)))
    return make_scenario(task=task, workload=work, engine=EnginePolicy(extra_args=extra))


def parse(words: list[str], engine: str, command: Command) -> dict[str, list[Any]]:
    found = vars(parser(engine, command).parse_args(words))
    return {name: values for name, values in found.items() if values is not None}


def engine_words(plan: Plan, scenario: Scenario, deploy: Deploy) -> tuple[list[str], Command]:
    one = container(rendered(plan, deploy, scenario=scenario))
    words = [*one.get("command", []), *one["args"]]
    if "--" in words:
        words = words[words.index("--") + 1 :]
    command = Command.BATCH if words[:2] == ["vllm", "run-batch"] else Command.SERVER
    return (words[2:] if words[0] == "vllm" else words), command


@settings(max_examples=100)
@given(plans(), scenarios())
def test_vllm_takes_every_word(plan: Plan, scenario: Scenario) -> None:
    batch = scenario.workload.kind is LoadKind.OFFLINE
    words, command = engine_words(plan, scenario, make_batch_deploy() if batch else make_deploy())
    found = parse(words, "vllm", command)
    assert all(name == "model_tag" or len(values) == 1 for name, values in found.items())  # nothing twice
    chosen = plan.configuration
    assert found["max_model_len"] == [str(chosen.max_model_len)]
    assert found["max_num_seqs"] == [str(chosen.max_num_seqs)]
    assert found["tensor_parallel_size"] == [str(chosen.tp_size)]
    assert float(found["gpu_memory_utilization"][0]) == round(chosen.gpu_memory_utilization, 4)
    assert (found["model"][0] if command is Command.BATCH else found["model_tag"]) == chosen.checkpoint.repository


@settings(max_examples=100)
@given(plans(), scenarios(engine="tgi"))
def test_tgi_takes_every_word(plan: Plan, scenario: Scenario) -> None:
    plan = tgi(plan)
    words, command = engine_words(plan, scenario, make_deploy())
    found = parse(words, "tgi", command)
    assert all(len(values) == 1 for values in found.values())
    assert found["max_total_tokens"] == [str(plan.configuration.max_model_len)]
    assert int(found["max_input_tokens"][0]) < plan.configuration.max_model_len
    assert int(found["max_concurrent_requests"][0]) >= plan.configuration.max_num_seqs
    assert not {"dtype", "quantize"} <= set(found)
