"""What runs keeps the pod template that it was started with."""

from __future__ import annotations

from typing import Any

from inferplan.domain.manifest import Manifest
from inferplan.kube.child import TEMPLATE, read_child
from inferplan.kube.client import FIELD_MANAGER, Body
from inferplan.kube.kinds import DEPLOYMENT
from inferplan.kube.pod_template import as_put_to_work


def deployment(template: Body) -> Manifest:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat", "namespace": "ns", "annotations": {"a": "b"}},
        "spec": {"replicas": 1, "template": template},
    }
    return Manifest("apps/v1", "Deployment", "ns", "chat", body)


def in_the_cluster(manifest: Manifest, **owned: Body) -> Any:
    fields = {"f:metadata": {"f:annotations": owned or {f"f:{TEMPLATE}": {}}}}
    managed = [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}]
    metadata = {**manifest.body["metadata"], "uid": "u", "managedFields": managed}
    return read_child(DEPLOYMENT, {**manifest.body, "metadata": metadata})


def template_of(manifests: list[Manifest]) -> Body:
    (manifest,) = manifests
    return dict(manifest.body["spec"]["template"])


OLD, NEW = {"spec": {"x": "old"}}, {"spec": {"x": "new"}}
(FIRST,) = as_put_to_work([deployment(OLD)], [], "abc", 1)


def test_the_first_template_is_the_one_that_is_written_and_is_kept_with_it() -> None:
    assert FIRST.body["spec"] == deployment(OLD).body["spec"]
    assert set(FIRST.body["metadata"]["annotations"]) == {"a", TEMPLATE}


def test_the_same_plan_for_the_same_spec_keeps_its_template_whatever_would_be_written_now() -> None:
    there = in_the_cluster(FIRST)
    assert as_put_to_work([deployment(NEW)], [there], "abc", 1) == [FIRST]


def test_another_plan_or_another_spec_brings_its_own_template() -> None:
    there = in_the_cluster(FIRST)
    assert template_of(as_put_to_work([deployment(NEW)], [there], "def", 1)) == NEW
    assert template_of(as_put_to_work([deployment(NEW)], [there], "abc", 2)) == NEW


def test_a_template_that_somebody_else_has_written_is_not_believed() -> None:
    there = in_the_cluster(FIRST, **{"f:other": {}})
    assert template_of(as_put_to_work([deployment(NEW)], [there], "abc", 1)) == NEW


def test_other_objects_are_left_as_they_are() -> None:
    service = Manifest("v1", "Service", "ns", "chat", {"spec": {}})
    assert as_put_to_work([service], [], "abc", 1) == [service]
