"""The chart fits the package: version, definition, permissions, values and their schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import inferplan
import inferplan.kube
from inferplan.api.node_pools import NodePoolHint
from inferplan.api.price_book import Price
from inferplan.kube.allowed import OPTIONS, Allowed, chart_name
from inferplan.kube.options import read_options

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "inferplan"
TEMPLATES = sorted((CHART / "templates").iterdir())
DEFINITION = "inferencescenarios.inferplan.dev.yaml"

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
FROM_HELM = {"global"}


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from schemas(inner, f"{path}.{name}")
    if "items" in schema:
        yield from schemas(schema["items"], f"{path}[]")


def paths(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}.{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{path}.{name}")


def test_the_charts_version_is_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (inferplan.__version__, inferplan.__version__)


def test_the_charts_definition_is_the_committed_one() -> None:
    ours, charts = (folder / DEFINITION for folder in (ROOT / "crds", CHART / "files"))
    assert charts.read_bytes() == ours.read_bytes(), "run `make generate`"


def test_the_definition_can_be_labelled_where_the_template_does_it() -> None:
    """The template replaces this text; there must be exactly one, and nothing that Helm would take for its own."""
    text = (CHART / "files" / DEFINITION).read_text(encoding="utf-8")
    assert text.count("\nmetadata:\n  name:") == text.count("\nmetadata:\n") == 1


def test_every_value_has_a_schema_and_every_schema_a_value() -> None:
    described = {path for path, _ in schemas(SCHEMA) if path and "[]" not in path}
    given = set(paths(VALUES)) | {f".{name}" for name in FROM_HELM}
    free = (".resources.", ".affinity.")
    assert {path for path in given ^ described if not path.startswith(free)} == set()


def test_every_object_of_the_schema_is_closed_and_everything_is_described() -> None:
    for path, schema in schemas(SCHEMA):
        if schema.get("type") == "object" and "properties" in schema:
            assert schema["additionalProperties"] is False, path
        of_an_entry = path.startswith((".priceBook.prices[].", ".priceBook.nodePools[]."))
        if re.fullmatch(r"\.\w+", path) or (of_an_entry and not path.endswith("[]")):
            assert schema.get("description"), path


@pytest.mark.parametrize(("value", "model"), [("prices", Price), ("nodePools", NodePoolHint)])
def test_an_entry_in_values_has_the_fields_with_which_the_operator_reads_it(value: str, model: type[BaseModel]) -> None:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    written = SCHEMA["properties"]["priceBook"]["properties"][value]["items"]
    assert set(written["properties"]) == set(fields)
    assert set(written["required"]) == {name for name, field in fields.items() if field.is_required()}


def test_every_value_that_a_template_reads_exists() -> None:
    known = set(paths(VALUES))
    for template in TEMPLATES:
        for path in re.findall(r"\.Values((?:\.[a-zA-Z]+)+)", template.read_text(encoding="utf-8")):
            assert path in known, f"{template.name}: .Values{path}"


def test_every_value_is_read_by_a_template() -> None:
    text = "".join(template.read_text(encoding="utf-8") for template in TEMPLATES)
    used = set(re.findall(r"\.Values((?:\.[a-zA-Z]+)+)", text))
    for path in paths(VALUES):
        assert any(other == path or path.startswith(f"{other}.") or other.startswith(f"{path}.") for other in used), (
            path
        )


def test_the_operator_understands_what_its_pod_tells_it() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    written = re.findall(r"^ +- (--[a-z-]+=.*)$", template, re.MULTILINE)
    known = {"logFormat": "json", "priceBook.name": "prices", "allowed.remoteCode": "false"}
    told = []
    for argument in written:
        filled = re.sub(r"\{\{ \.Values\.([\w.]+) \}\}", lambda match: known[match[1]], argument)
        told.append(re.sub(r"\{\{.*?\}\}", "release", filled).replace("$(POD_NAMESPACE)", "home"))
    options = read_options(told, {})
    assert (str(options.lease), str(options.price_book)) == ("home/release", "home/prices")
    assert (options.identity, options.namespaces, options.json_logs) == ("$(POD_NAME)", ("release",), True)
    for name, port in (("health", options.health_port), ("metrics", options.metrics_port)):
        assert re.search(rf"name: {name}\n +containerPort: {port}\n", template)


def test_the_chart_allows_what_the_operator_allows_unasked() -> None:
    allowed = {name: value if isinstance(value, bool) else tuple(value) for name, value in VALUES["allowed"].items()}
    assert allowed == {chart_name(field.name): getattr(Allowed(), field.name) for field in fields(Allowed)}


def test_the_pod_is_told_everything_that_is_allowed() -> None:
    """A list that is empty is told as well, for what is not told has its default."""
    template = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    told = dict(re.findall(r'"(\w+)" "([\w-]+)"', *re.findall(r"\$what := dict (.*?) \}\}", template)))
    options = {chart_name(field): option.removeprefix("--allow-") for field, option in OPTIONS.items()}
    assert told | {"remoteCode": "remote-code"} == options
    assert 'range index $.Values.allowed $name | default (list "")' in template
    assert f"- {OPTIONS['remote_code']}=" in template


# ── permissions ──────────────────────────────────────────────────────────────────────────────────────────────


def rules(template: str) -> list[dict[str, Any]]:
    """Read the rules of a template, which hold no logic of Helm's but names."""
    text = (CHART / "templates" / template).read_text(encoding="utf-8")
    text = re.sub(r"\{\{-? /\*.*?\*/ -?\}\}", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*\{\{[^}]*\}\}\s*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\{\{[^}]*\}\}", "name", text)
    text = re.sub(r"^  labels:.*\n(?:    .*\n)*", "", text, flags=re.MULTILINE)
    documents = [document for document in yaml.safe_load_all(text) if document]
    return [rule for document in documents for rule in document.get("rules", ())]


def granted(template: str) -> set[tuple[str, str]]:
    """Return what is granted, as pairs of resource with group and verb."""
    return {
        (f"{resource}.{group}".rstrip("."), verb)
        for rule in rules(template)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("template", ["rbac-operator.yaml", "rbac-users.yaml"])
def test_nothing_is_granted_by_wildcard_and_no_secret(template: str) -> None:
    found = granted(template)
    assert found
    for resource, verb in found:
        assert "*" not in resource + verb
        assert not resource.startswith("secrets")


def test_what_is_granted_by_name_cannot_be_granted_otherwise() -> None:
    named = [(rule["resources"], rule["verbs"]) for rule in rules("rbac-operator.yaml") if "resourceNames" in rule]
    assert named == [(["leases"], ["get", "update"]), (["configmaps"], ["get"])]


PERMISSION = re.compile(r"^(?P<what>\S.*?)\s{2,}(?P<verbs>\S.*?)\s{2,}(?P<where>\S.*)$", re.MULTILINE)


def documented() -> set[tuple[str, str]]:
    """Read the table of permissions in the operator's own documentation."""
    (table,) = re.findall(
        r"^={5,}.*\nResource .*\n={5,}.*\n((?:.+\n)+?)={5,}", inferplan.kube.__doc__ or "", re.MULTILINE
    )
    found = set()
    for row in PERMISSION.finditer(table):
        names, _, group = row["what"].rstrip(")").partition(" (")
        for name in names.split(", "):
            resource, slash, subresource = name.partition("/")
            group = group or {"inferencescenarios": "inferplan.dev"}.get(resource, "")
            verbs = re.findall(r"[a-z]+", re.sub(r" of (its own|the price book)", "", row["verbs"]))
            found |= {(f"{resource}{slash}{subresource}.{group}".rstrip("."), verb) for verb in verbs}
    return found


def test_the_operator_is_granted_exactly_what_it_says_that_it_needs() -> None:
    assert granted("rbac-operator.yaml") == documented()
