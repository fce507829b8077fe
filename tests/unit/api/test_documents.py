"""Files of scenarios: every fault at once, with its line, and never a traceback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from inferplan.api.documents import read_scenario_file, read_scenarios
from inferplan.api.yaml_tree import MAXIMUM_FILE_BYTES
from inferplan.domain.errors import InputError
from tests.unit.api.catalogs import HEAD

USE_CASES = "allowed: Chatbot, Summarization, BatchClassification, Custom"
DECIMAL = 'a decimal in quotes that is not negative, for example "2.50"'


def faults_of(text: str | bytes) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_scenarios(text, "chat.yaml")
    return [str(fault) for fault in caught.value.faults]


def test_the_smallest_scenario_is_read() -> None:
    found = read_scenarios(HEAD + "spec: {useCase: Chatbot}", "chat.yaml")
    assert [document.resource.metadata.name for document in found.scenarios] == ["chat"]
    assert found.notices == ()


def test_json_is_yaml() -> None:
    text = (
        '{"apiVersion": "inferplan.dev/v1alpha1", "kind": "InferenceScenario",'
        ' "metadata": {"name": "chat"}, "spec": {"useCase": "Chatbot"}}'
    )
    assert read_scenarios(text, "chat.json").scenarios[0].resource.spec.use_case == "Chatbot"


def test_all_faults_of_shape_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = HEAD + (
        "spec:\n"
        "  useCase: Chatbott\n"
        "  concurrentUsers: 5\n"
        "  workload:\n"
        '    concurrentUsers: "5"\n'
        "    requestsPerSecond: 2.5\n"
        "    promptTokens: {mean: 5}\n"
        "  slo:\n"
        "    percentil: P95\n"
        "    timeToFirstTokenMilliseconds: -4\n"
        '  budget: {maximumUsdPerHour: "-3", maximumUsdPerMonth: "1e3"}\n'
        "  hardware: {allow: t4, maximumGpus: 0}\n"
        "  growth: {factors: [2, 1.5]}\n"
        "  select: {tier: Cheap}\n"
    )
    assert faults_of(text) == [
        f'chat.yaml:5: spec.useCase: "Chatbott" is not allowed (did you mean "Chatbot"? {USE_CASES})',
        "chat.yaml:6: spec.concurrentUsers: unknown field (did you mean spec.workload.concurrentUsers?)",
        'chat.yaml:8: spec.workload.concurrentUsers: must be a whole number, not "5" (from 1 to 1000000000)',
        'chat.yaml:9: spec.workload.requestsPerSecond: must be text, not 2.5 (write it in quotes: "2.5")',
        "chat.yaml:10: spec.workload.promptTokens.p95: required, but missing (from 1 to 10000000)",
        'chat.yaml:12: spec.slo.percentil: unknown field (did you mean "percentile"?)',
        "chat.yaml:13: spec.slo.timeToFirstTokenMilliseconds: must be at least 1, not -4",
        'chat.yaml:14: spec.budget.maximumUsdPerHour: must not be negative, not "-3"',
        f'chat.yaml:14: spec.budget.maximumUsdPerMonth: "1e3" is not possible here ({DECIMAL})',
        'chat.yaml:15: spec.hardware.allow: must be a list, not "t4"',
        "chat.yaml:15: spec.hardware.maximumGpus: must be at least 1, not 0",
        "chat.yaml:16: spec.growth.factors[1]: must be a whole number, not 1.5 (from 2 to 1000)",
        'chat.yaml:17: spec.select.tier: "Cheap" is not allowed (allowed: Budget, Recommended, HighEnd)',
    ]


def test_python_names_are_not_accepted_in_files() -> None:
    assert faults_of(HEAD + "spec: {use_case: Chatbot}") == [
        f"chat.yaml:4: spec.useCase: required, but missing ({USE_CASES})",
        'chat.yaml:4: spec.use_case: unknown field (did you mean "useCase"?)',
    ]


def test_a_list_whose_entries_are_at_fault_is_not_called_too_short() -> None:
    text = HEAD + "spec: {useCase: Chatbot, hardware: {owned: [{name: Rack_1}]}}"
    assert not [fault for fault in faults_of(text) if "at least 1 entries" in fault]


def test_null_is_absent_as_it_is_for_the_api_server() -> None:
    text = HEAD + "spec: {useCase: Chatbot, slo: null, budget: {maximumUsdPerHour: null}}"
    assert read_scenarios(text, "chat.yaml").scenarios[0].resource.spec.slo.percentile is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "chat.yaml: no InferenceScenario in it (start with apiVersion: inferplan.dev/v1alpha1)"),
        ("---\n---\n", "chat.yaml: no InferenceScenario in it (start with apiVersion: inferplan.dev/v1alpha1)"),
        ("a: 1\na: 2", 'chat.yaml:2: "a" stands twice (first in line 1)'),
        ("- 1", "chat.yaml:1: must be a group of fields (apiVersion, kind, metadata, spec)"),
        ("just text", "chat.yaml:1: must be a group of fields (apiVersion, kind, metadata, spec)"),
        ("a: *b", "chat.yaml:1: alias *b refers to nothing before it"),
        ("a: &a [*a]", "chat.yaml:1: alias *a refers to nothing before it"),
        ("a: {<<: {b: 1}}", "chat.yaml:1: merge keys (<<) are not supported (write the fields out)"),
        ("? [a]\n: b", "chat.yaml:1: a field name must be plain text"),
        ("a: !!python/name:os.system x", "chat.yaml:1: tag tag:yaml.org,2002:python/name:os.system is not supported"),
        ("a: " + "[" * 100 + "]" * 100, "chat.yaml:1: nested too deeply or too large to be meant"),
        (b"a: \xff\xfe", "chat.yaml: not UTF-8 text (byte 3)"),
        ("a: " + "x" * MAXIMUM_FILE_BYTES, "chat.yaml: larger than 1 MiB (split the file)"),
    ],
)
def test_what_is_no_scenario_gets_one_clear_fault(text: str | bytes, fault: str) -> None:
    found = faults_of(text)
    assert len(found) == 1
    assert found[0].startswith(fault)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\t- x", "{a: 1", "%", 'a: "x', "a: 'x", "@a"])
def test_malformed_yaml_is_told_with_line_and_column(text: str) -> None:
    found = faults_of(text)
    assert len(found) == 1
    assert found[0].startswith("chat.yaml:")
    assert "not YAML" in found[0]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "aliases expand beyond any sensible size" in faults_of("\n".join(lines))[0]


def test_other_kinds_are_named_and_passed_over() -> None:
    text = f"kind: Service\napiVersion: v1\nmetadata: {{name: web}}\n---\n{HEAD}spec: {{useCase: Chatbot}}\n"
    found = read_scenarios(text, "all.yaml")
    assert len(found.scenarios) == 1
    assert found.notices == ("all.yaml:1: Service web passed over: not an InferenceScenario",)


def test_a_file_of_other_kinds_alone_is_a_fault_that_names_them() -> None:
    assert "Pod passed over" in faults_of("kind: Pod\napiVersion: v1")[0]


def test_a_list_as_kubectl_prints_it_is_opened() -> None:
    indented = "".join(f"    {line}\n" for line in (HEAD + "spec: {useCase: Chatbot}").splitlines())
    text = "apiVersion: v1\nkind: List\nitems:\n  -\n" + indented
    assert len(read_scenarios(text, "list.yaml").scenarios) == 1


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            "apiVersion: inferplan.dev/v1\nkind: InferenceScenario",
            'chat.yaml:1: apiVersion: "inferplan.dev/v1" is not known (did you mean "inferplan.dev/v1alpha1"?)',
        ),
        (
            "apiVersion: inferplan.dev/v1alpha1\nkind: inferencescenario",
            'chat.yaml:2: kind: "inferencescenario" is not known (did you mean "InferenceScenario"?)',
        ),
        (
            "kind: InferenceScenario",
            "chat.yaml:1: apiVersion: required, but missing (write apiVersion: inferplan.dev/v1alpha1)",
        ),
    ],
)
def test_a_wrong_version_or_kind_is_told_with_the_right_one(head: str, expected: str) -> None:
    assert faults_of(f"{head}\nmetadata: {{name: chat}}\nspec: {{useCase: Chatbot}}") == [expected]


def test_two_scenarios_of_one_name_are_refused() -> None:
    text = HEAD + "spec: {useCase: Chatbot}\n---\n" + HEAD + "spec: {useCase: Chatbot}\n"
    assert faults_of(text) == ['chat.yaml:8: metadata.name: "chat" stands twice (first in line 1)']


def test_faults_of_all_documents_are_told_together() -> None:
    text = HEAD + "spec: {useCase: A}\n---\n" + HEAD + "spec: {useCase: B}\n"
    assert [fault.split(": ")[0] for fault in faults_of(text)] == ["chat.yaml:4", "chat.yaml:9"]


def test_a_name_must_suit_the_objects_made_from_it() -> None:
    text = HEAD.replace("chat", "Chat_Bot") + "spec: {useCase: Chatbot}"
    assert "at most 52 lower-case letters" in faults_of(text)[0]


def test_a_status_of_another_version_does_not_make_a_scenario_unreadable() -> None:
    text = HEAD + "spec: {useCase: Chatbot}\nstatus: {somethingOld: [1, 2], plan: 7}"
    assert read_scenarios(text, "chat.yaml").scenarios[0].resource.spec.use_case == "Chatbot"


def test_a_file_that_is_not_there_or_a_folder_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_scenario_file(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_scenario_file(tmp_path)


def test_a_file_is_named_in_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "spec: {}", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml:4: spec\.useCase: required"):
        read_scenario_file(path)


@pytest.mark.parametrize(
    ("written", "meant"), [("010", "10"), ("08", "8"), ("0017", "17"), ("-012", "-12"), ("+07", "+7"), ("00", "0")]
)
def test_a_number_with_a_leading_zero_is_refused_for_it_is_octal_in_yaml(written: str, meant: str) -> None:
    (fault,) = faults_of(f"{HEAD}spec:\n  useCase: Chatbot\n  workload: {{concurrentUsers: {written}}}\n")
    fix = f'write {meant} for the number, or "{written}" in quotes for the text'
    assert fault == f"chat.yaml:6: {written} is octal in YAML for its leading zero ({fix})"


@pytest.mark.parametrize("written", ["0", "10", "0x10", "0o10", "1_0"])
def test_other_spellings_of_whole_numbers_are_read(written: str) -> None:
    text = f"{HEAD}spec:\n  useCase: Chatbot\n  workload: {{thinkTimeSeconds: {written}}}\n"
    (found,) = read_scenarios(text, "chat.yaml").scenarios
    assert found.resource.spec.workload.think_time_seconds == int(written, 0)


def test_thousands_of_unknown_fields_are_told_in_a_moment() -> None:
    fields = "".join(f"  field{number}: 1\n" for number in range(3_000))
    started = time.process_time()
    assert len(faults_of(f"{HEAD}spec:\n  useCase: Chatbot\n{fields}")) == 3_000
    assert time.process_time() - started < 4.0  # 0.6 s where this was written; 9 s before names were looked up once
