"""Whatever is fed in: one clear error or a reasoned no, the right exit status, and never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

HEAD = "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: chat}\n"

Cli = Callable[..., Any]


def clean(ended: Any) -> None:
    assert "Traceback" not in ended.out + ended.err
    assert "defect" not in ended.err


# What is written, and what the message must name.
BAD_SPECS = [
    ("useCase: Chatbott", ["spec.useCase", "Chatbot"]),
    ("useCase: Chatbot\n  wrokload: {concurrentUsers: 3}", ["spec.wrokload", "workload"]),
    ("useCase: Chatbot\n  workload: {concurrentUsers: many}", ["spec.workload.concurrentUsers"]),
    ("useCase: Chatbot\n  workload: {concurrentUsers: -5}", ["spec.workload.concurrentUsers"]),
    ("useCase: Chatbot\n  workload: {concurrentUsers: 0}", ["spec.workload.concurrentUsers"]),
    ("useCase: Chatbot\n  workload: {concurrentUsers: 1.5}", ["spec.workload.concurrentUsers"]),
    ("useCase: Chatbot\n  workload: {concurrentUsers: .nan}", ["spec.workload.concurrentUsers"]),
    ("useCase: Chatbot\n  workload: [1, 2]", ["spec.workload"]),
    ("useCase: Chatbot\n  slo: {percentile: P42}", ["spec.slo.percentile", "P95"]),
    ('useCase: Chatbot\n  budget: {maximumUsdPerMonth: "-1"}', ["spec.budget.maximumUsdPerMonth"]),
    ("useCase: Chatbot\n  budget: {maximumUsdPerMonth: lots}", ["spec.budget.maximumUsdPerMonth"]),
    ("useCase: Chatbot\n  model: {allow: [meta-llama/Llama-3.1-8B-Instrukt]}", ["spec.model.allow", "Llama-3.1-8B"]),
    ("useCase: Chatbot\n  hardware: {allow: [h1000]}", ["spec.hardware.allow", "h1000"]),
    ("useCase: Chatbot\n  hardware: {allow: [l4], deny: [l4]}", ["spec.hardware.deny", "both"]),
    ("useCase: Chatbot\n  select: {pin: {model: no/such-model}}", ["spec.select.pin.model", "no/such-model"]),
    ("useCase: Chatbot\n  workload: {promptTokens: {mean: 900, p95: 20}}", ["spec.workload.promptTokens"]),
    (
        'useCase: BatchClassification\n  workload: {schedule: {cron: "@nonsense"}}',
        ["spec.workload.schedule.cron", "@daily"],
    ),
    (
        'useCase: BatchClassification\n  workload: {schedule: {cron: "0 0 31 2 *"}}',
        ["spec.workload.schedule.cron", "never starts"],
    ),
    (
        'useCase: BatchClassification\n  workload: {schedule: {cron: "@daily", timeZone: Mars/Base}}',
        ["spec.workload.schedule.timeZone", "Europe/Berlin"],
    ),
]


@pytest.mark.parametrize(("spec", "named"), BAD_SPECS, ids=[spec.splitlines()[-1].strip() for spec, _ in BAD_SPECS])
def test_a_wrong_field_is_named_with_its_file_and_line(cli: Cli, tmp_path: Path, spec: str, named: list[str]) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(f"{HEAD}spec:\n  {spec}\n", encoding="utf-8")
    ended = cli("plan", path)
    clean(ended)
    assert ended.code == 2
    assert ended.out == ""
    assert f"{path}:" in ended.err
    for text in named:
        assert text in ended.err


@pytest.mark.parametrize("cron", ["@daily", "@every 12h", "0 2 ? * mon-fri", "*/90 2 1-7 * *"])
def test_a_schedule_that_kubernetes_takes_is_planned_and_rendered(cli: Cli, tmp_path: Path, cron: str) -> None:
    path = tmp_path / "batch.yaml"
    load = f'workload: {{items: 1000, deadlineMinutes: 10, schedule: {{cron: "{cron}"}}}}'
    files = "deploy: {batch: {volumeRef: {name: items}}}"
    path.write_text(f"{HEAD}spec:\n  useCase: BatchClassification\n  {load}\n  {files}\n", encoding="utf-8")
    planned = cli("plan", path)
    clean(planned)
    assert planned.code == 0
    rendered = cli("render", path)
    assert rendered.code == 0
    (schedule,) = (
        found["spec"]["schedule"] for found in yaml.safe_load_all(rendered.out) if found["kind"] == "CronJob"
    )
    assert schedule == cron


BAD_BYTES = {
    "malformed YAML": b"spec: {useCase: [Chatbot\n",
    "tab for indent": b"spec:\n\tuseCase: Chatbot\n",
    "binary": bytes(range(256)),
    "an image": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "empty": b"",
    "only comments": b"# nothing\n---\n",
    "a number": b"42\n",
    "a list": b"- 1\n- 2\n",
    "a string": b"hello\n",
    "no kind": b"spec: {useCase: Chatbot}\n",
    "kind misspelt": HEAD.replace("InferenceScenario", "InferenceScenarios").encode() + b"spec: {useCase: Chatbot}\n",
    "version unknown": HEAD.replace("v1alpha1", "v9").encode() + b"spec: {useCase: Chatbot}\n",
    "no spec": HEAD.encode(),
    "empty spec": HEAD.encode() + b"spec: {}\n",
    "spec is text": HEAD.encode() + b"spec: Chatbot\n",
    "a field twice": HEAD.encode() + b"spec: {useCase: Chatbot, useCase: Summarization}\n",
    "endless alias": b"a: &a [*a]\n" + HEAD.encode() + b"spec: {useCase: Chatbot}\n",
    "billion laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("k"))),
    "deep nesting": b"[" * 5000 + b"]" * 5000,
    "python object": b"!!python/object/apply:os.system ['true']\n",
    "only other kinds": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n",
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
@pytest.mark.parametrize("command", ["plan", "compare", "explain"])
def test_a_file_that_holds_no_scenario_is_refused(cli: Cli, tmp_path: Path, command: str, data: bytes) -> None:
    path = tmp_path / "input.yaml"
    path.write_bytes(data)
    ended = cli(command, path)
    clean(ended)
    assert ended.code == 2
    assert ended.out == ""
    assert str(path) in ended.err


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_standard_input_is_read_with_the_same_care(cli: Cli, data: bytes) -> None:
    ended = cli("plan", "-", stdin=data)
    clean(ended)
    assert ended.code == 2
    assert "standard input" in ended.err


def test_faults_of_all_files_are_told_together(cli: Cli, tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(f"{HEAD}spec: {{useCase: Chatbott, budjet: 3}}\n", encoding="utf-8")
    second.write_text("spec: [", encoding="utf-8")
    ended = cli("plan", first, second, tmp_path / "third.yaml")
    clean(ended)
    assert ended.code == 2
    assert ended.err.count("error: ") >= 4
    for name in ("first.yaml", "second.yaml", "third.yaml", "useCase", "budjet"):
        assert name in ended.err


def test_a_folder_is_no_file(cli: Cli, tmp_path: Path) -> None:
    ended = cli("plan", tmp_path)
    clean(ended)
    assert ended.code == 2
    assert str(tmp_path) in ended.err


SIDE_FILES = [None, b"{", b"\x00\xff\x00", b"hello\n", b"kind: List\nitems: 3\n"]


@pytest.mark.parametrize("option", ["--inventory", "--price-book", "--catalog"])
@pytest.mark.parametrize("content", SIDE_FILES)
def test_a_broken_side_file_is_named(
    cli: Cli, tmp_path: Path, examples: Path, option: str, content: bytes | None
) -> None:
    path = tmp_path / "side.yaml"
    if content is not None:
        path.write_bytes(content)
    ended = cli("plan", examples / "chatbot-scenario.yaml", option, path)
    clean(ended)
    assert ended.code == 2
    assert str(path) in ended.err


@pytest.mark.parametrize("text", ['id = "mine"\nmemory = "lots"\n', "id = \n", 'id = "l4"\n'])
def test_a_broken_overlay_names_file_and_record(cli: Cli, tmp_path: Path, examples: Path, text: str) -> None:
    (tmp_path / "gpus").mkdir()
    (tmp_path / "gpus" / "mine.toml").write_text(text, encoding="utf-8")
    for arguments in (("plan", examples / "chatbot-scenario.yaml"), ("catalog", "check"), ("catalog", "list", "gpus")):
        ended = cli(*arguments, "--catalog", tmp_path)
        clean(ended)
        assert ended.code == 2
        assert "mine.toml" in ended.err


@pytest.mark.parametrize(
    "spec",
    [
        "useCase: Chatbot\n  workload: {concurrentUsers: 1000000000}",
        'useCase: Chatbot\n  budget: {maximumUsdPerMonth: "0"}',
        'useCase: Chatbot\n  budget: {maximumUsdPerRequest: "0"}',
        "useCase: Chatbot\n  slo: {timeToFirstTokenMilliseconds: 1}",
        'useCase: Chatbot\n  workload: {requestsPerSecond: "1000000000"}',
    ],
)
def test_a_hard_wish_is_answered_with_no_and_its_reason(cli: Cli, tmp_path: Path, spec: str) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(f"{HEAD}spec:\n  {spec}\n", encoding="utf-8")
    ended = cli("plan", path)
    clean(ended)
    assert ended.code in {2, 3}, ended.err
    if ended.code == 3:
        assert "no feasible plan" in ended.out
    else:
        assert "spec." in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("plan",),
        ("plan", "--output", "xml", "FILE"),
        ("plan", "--tier", "Best", "FILE"),
        ("plan", "--nonsense", "FILE"),
        ("planning", "FILE"),
        ("catalog",),
        ("catalog", "list", "planets"),
        ("catalog", "show", "no-such-record"),
        ("explain", "FILE", "--candidate", "nonsense"),
        ("explain", "FILE", "--candidate", "Qwen/Qwen3-8B,FP9,l4,1"),
        ("explain", "FILE", "--candidate", "Qwen/Qwen3-8B,FP8,l4,0"),
        ("explain", "FILE", "--candidate", "Qwen/Qwen3-8B,FP8,l4,1,speed=3"),
    ],
)
def test_a_misused_option_ends_with_usage(cli: Cli, examples: Path, arguments: tuple[str, ...]) -> None:
    path = str(examples / "chatbot-scenario.yaml")
    ended = cli(*(path if argument == "FILE" else argument for argument in arguments))
    clean(ended)
    assert ended.code == 2
    assert ended.out + ended.err


@pytest.mark.parametrize("command", ["plan", "render", "compare", "explain", "simulate"])
def test_arguments_that_are_not_the_users_are_refused_by_every_command(cli: Cli, tmp_path: Path, command: str) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(
        "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: chat}\nspec:\n"
        "  useCase: Chatbot\n  engine:\n    extraArgs:\n"
        "      - --seed=1\n      - --kv-cache-dtype=fp8\n      - --nope\n"
    )
    ended = cli(command, path)
    assert (ended.code, ended.out) == (2, "")
    assert f"{path}:9: spec.engine.extraArgs[1]: --kv-cache-dtype is decided by the plan" in ended.err
    assert "use spec.select.pin.kvCacheType" in ended.err
    assert f'{path}:10: spec.engine.extraArgs[2]: vllm 0.33.0 has no flag "--nope"' in ended.err


def test_an_engine_that_nobody_knows_is_refused_with_those_that_are_known(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(
        "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: chat}\nspec:\n"
        '  useCase: Chatbot\n  engine: {version: "0.1.0"}\n'
    )
    ended = cli("plan", path)
    assert ended.code == 2
    assert f"{path}:6: spec.engine.version: there are no templates for vLLM 0.1.0 (known: 0.33.x)" in ended.err


def test_a_plan_that_the_engine_would_refuse_is_no_answer(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(
        "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: chat}\nspec:\n"
        "  useCase: Chatbot\n  workload: {sharedPrefixTokens: 100}\n"
        "  engine: {extraArgs: [--no-enable-prefix-caching]}\n"
    )
    ended = cli("plan", path)
    assert (ended.code, ended.out) == (2, "")
    assert f"{path}:7: spec.engine.extraArgs[0]: --enable-prefix-caching is given already" in ended.err


def test_a_batch_run_without_its_items_is_planned_and_cautioned(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text(
        "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: nightly}\nspec:\n"
        "  useCase: BatchClassification\n"
    )
    ended = cli("plan", path)
    assert ended.code == 0
    assert "cannot be deployed yet: spec.deploy.batch: a batch run needs to know where its items are" in ended.out
    assert cli("render", path).code == 2
