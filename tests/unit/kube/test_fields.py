"""Whose the fields of an object are."""

from __future__ import annotations

from typing import Any

from inferplan.kube.client import Body
from inferplan.kube.fields import Writer, added_fields, missing_fields, other_writers, writer_of
from tests.unit.kube.test_work import OWNED

SCALER = Writer("kube-controller-manager", "scale", "12:00:00", {"f:spec": {"f:replicas": {}}})


def test_items_of_lists_are_found_by_key_or_value() -> None:
    owned = {
        "f:spec": {
            "f:containers": {'k:{"name":"server"}': {".": {}, "f:image": {}}},
            "f:finalizers": {'v:"a"': {}},
        }
    }
    body = {"spec": {"containers": [{"name": "server", "image": "x"}], "finalizers": ["a", "b"]}}
    assert list(missing_fields(body, owned)) == ["spec.containers[0].name", "spec.finalizers[1]"]


def managed(*entries: tuple[str, str, str, Any]) -> Body:
    rows = [
        {"manager": who, "operation": how, "subresource": where, "time": "12:00:00", "fieldsV1": fields}
        for who, how, where, fields in entries
    ]
    return {"managedFields": rows}


def test_only_others_that_set_more_than_a_status_are_kept() -> None:
    found = other_writers(
        managed(
            ("inferplan", "Apply", "", OWNED),
            ("kube-controller-manager", "Update", "status", {"f:status": {}}),
            ("kube-controller-manager", "Update", "scale", SCALER.fields),
        )
    )
    assert found == (SCALER,)


def test_a_field_is_anothers_if_all_of_it_is() -> None:
    image: Any = {"f:containers": {'k:{"name":"server"}': {".": {}, "f:name": {}, "f:image": {}}}}
    writer = Writer("kubectl-edit", "", "", {"f:spec": image})
    body = {"spec": {"replicas": 2, "containers": [{"name": "server", "image": "x", "args": ["a"]}]}}
    assert writer_of("spec.containers[0].image", body, (SCALER, writer)) is writer
    assert writer_of("spec.replicas", body, (writer, SCALER)) is SCALER
    assert writer_of("spec.containers[0].args", body, (SCALER, writer)) is None


def test_added_containers_and_variables_are_named_by_their_keys() -> None:
    def pods(spec: Any) -> Any:
        return {"f:spec": {"f:template": {"f:spec": spec}}}

    server = 'k:{"name":"server"}'
    ours = pods({"f:containers": {server: {".": {}, "f:image": {}, "f:env": {'k:{"name":"A"}': {".": {}}}}}})
    variables: Any = {"f:env": {'k:{"name":"A"}': {"f:value": {}}, 'k:{"name":"B"}': {".": {}, "f:value": {}}}}
    theirs = pods({"f:containers": {server: variables, 'k:{"name":"sidecar"}': {".": {}, "f:image": {}}}})
    restarted: Any = {
        "f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}}
    }
    found = added_fields(ours, [Writer("kubectl-set", "", "", theirs), Writer("kubectl-rollout", "", "", restarted)])
    assert [path for _, path in found] == [
        "spec.template.spec.containers[server].env[A].value",
        "spec.template.spec.containers[server].env[B]",
        "spec.template.spec.containers[sidecar]",
    ]
