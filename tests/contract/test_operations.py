"""The page on operations names what there is: conditions, reasons, annotations, metrics, permissions, values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from inferplan.domain.operation import DeployPolicy
from inferplan.kube.choice import Stop
from inferplan.kube.conditions import RULES
from inferplan.kube.metrics import REGISTRY
from inferplan.kube.trouble import STALLING, UNSCHEDULABLE_S, WAITING
from inferplan.kube.view import APPROVED, PAUSED, REQUESTED
from tests.gitops import HEALTH

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text below a heading."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def first_column(text: str) -> list[str]:
    """Return what stands in the first column of a table, without its heading."""
    return re.findall(r"^\| (.*?) \|", text, re.MULTILINE)[1:]


def test_every_condition_has_its_row_in_the_order_in_which_it_is_written() -> None:
    assert first_column(section("Conditions")) == [f"`{name}`" for name, _ in RULES]


def test_every_reason_for_which_a_plan_is_not_put_to_work_is_named() -> None:
    for reason in Stop:
        assert f"`{reason.value}`" in section("Conditions"), reason


def test_every_reason_for_which_pods_do_not_come_is_named() -> None:
    text = section("Why pods do not come")
    for reason in (*STALLING, *WAITING, "Unschedulable"):
        assert f"`{reason}`" in text, reason
    assert UNSCHEDULABLE_S == 600.0, "the page says ten minutes"


def test_every_policy_and_annotation_is_explained() -> None:
    text = section("What a scenario does")
    for policy in DeployPolicy:
        assert f"| `{policy.value}`" in text
    for annotation in (APPROVED, PAUSED, REQUESTED):
        assert f"| `{annotation}: " in text


def test_every_metric_is_listed_and_no_other() -> None:
    exposed = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.type != "unknown"
    }
    named = set(re.findall(r"`(inferplan_\w+)", "".join(first_column(section("Watching the operator")))))
    assert named == exposed


@pytest.mark.parametrize("template", ["rbac-operator.yaml"])
def test_the_table_of_permissions_names_every_resource(template: str) -> None:
    text = (ROOT / "charts" / "inferplan" / "templates" / template).read_text(encoding="utf-8")
    granted = set(re.findall(r"[a-z/]+", " ".join(re.findall(r"resources: \[(.*?)\]", text))))
    named = set(re.findall(r"`([a-z/]+)`", " ".join(first_column(section("Permissions")))))
    assert named == granted


def test_every_value_that_is_named_exists() -> None:
    values = yaml.safe_load((ROOT / "charts" / "inferplan" / "values.yaml").read_text(encoding="utf-8"))
    for option in re.findall(r"--set '?([a-zA-Z.]+)=", PAGE):
        found = values
        for name in option.split("."):
            assert name in found, option
            found = found[name]


def test_the_files_that_it_leads_to_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    for link in links:
        assert (ROOT / "docs" / link).exists(), link
    assert str(HEALTH.relative_to(ROOT)) in PAGE
