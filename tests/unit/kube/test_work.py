"""What has to be done to children, and what leaves them alone."""

from __future__ import annotations

from typing import Any

import pytest

from inferplan.domain.errors import DefectError
from inferplan.domain.manifest import Manifest
from inferplan.kube.child import Child, ChildName, read_child
from inferplan.kube.client import Body
from inferplan.kube.kinds import CRON_JOB, DEPLOYMENT, JOB, SERVICE, Kind, child_kind
from inferplan.kube.work import Work, compare, fingerprint

UID = "scenario-uid"
OWNED: dict[str, Any] = {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}}}
BODY: Body = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "chat", "namespace": "ns", "labels": {"a": "b"}},
    "spec": {"replicas": 2},
}
NAME = ChildName("Deployment", "ns", "chat")


def manifest(kind: Kind = DEPLOYMENT, name: str = "chat") -> Manifest:
    return Manifest(kind.api_version, kind.name, "ns", name, BODY)


def child(kind: Kind = DEPLOYMENT, name: str = "chat", **overrides: Any) -> Child:
    base: dict[str, Any] = {
        "kind": kind,
        "name": ChildName(kind.name, "ns", name),
        "uid": "u1",
        "scenario": "chat",
        "owner_uid": UID,
        "owner": "InferenceScenario chat",
        "deleting": False,
        "ready": True,
        "finished": False,
        "failed": False,
        "detail": "",
        "owned_fields": OWNED,
    }
    return Child(**(base | overrides))


def work(*children: Child, kind: Kind = DEPLOYMENT, sure: bool = True, completed: bool = False) -> Work:
    applied = {ChildName(kind.name, "ns", "chat"): (fingerprint(BODY), "u1")} if sure else {}
    return compare([manifest(kind)], children, UID, applied, completed=completed)


def test_what_is_not_there_is_made() -> None:
    found = work(sure=False)
    assert [(step.name, step.reason) for step in found.steps] == [(NAME, "Create")]
    assert not found.is_done


def test_what_was_applied_and_is_gone_is_drift() -> None:
    (step,) = work().steps
    assert (step.name, step.reason, step.drift, step.uid) == (NAME, "Drift", ("deleted",), "")


def test_what_is_as_it_was_applied_is_left_alone() -> None:
    found = work(child())
    assert found.is_done
    assert found.is_available
    assert found.unsure == ()


def test_what_this_process_has_not_applied_is_made_sure_of_without_counting_as_work() -> None:
    found = work(child(), sure=False)
    assert [step.name for step in found.unsure] == [NAME]
    assert found.is_available


@pytest.mark.parametrize(
    ("owned", "fields"),
    [
        (None, ("metadata", "spec")),
        ({"f:metadata": OWNED["f:metadata"]}, ("spec",)),
        ({**OWNED, "f:spec": {"f:paused": {}}}, ("spec.replicas",)),
    ],
)
def test_a_field_that_is_no_longer_ours_is_drift(owned: dict[str, Any] | None, fields: tuple[str, ...]) -> None:
    (step,) = work(child(owned_fields=owned)).steps
    assert (step.reason, step.drift) == ("Drift", fields)


def test_an_object_made_anew_by_somebody_is_applied() -> None:
    assert [step.reason for step in work(child(uid="u2")).steps] == ["Update"]


def test_what_belongs_to_somebody_else_is_named_and_never_touched() -> None:
    found = work(child(owner_uid="another", owner="InferenceScenario other"))
    assert found.foreign == ("Deployment chat belongs to InferenceScenario other",)
    assert not found.steps
    assert not found.prune
    assert work(child(owner_uid="", owner="")).foreign == ("Deployment chat belongs to somebody else",)


def test_what_is_on_its_way_out_is_waited_for() -> None:
    found = work(child(deleting=True))
    assert found.waiting == ("Deployment chat",)
    assert not found.is_available


def test_what_is_no_longer_wanted_is_pruned_but_not_what_has_ended_well() -> None:
    old, ended = child(JOB, "old"), child(JOB, "ended", finished=True)
    assert work(child(), old, ended).prune == (old,)


def test_a_run_that_is_complete_is_not_run_again_when_its_job_has_been_tidied_away() -> None:
    assert work(kind=JOB, completed=True).steps == ()
    assert [step.reason for step in work(kind=JOB).steps] == ["Drift"]


def test_a_kind_without_permission_is_a_defect() -> None:
    with pytest.raises(DefectError, match="ConfigMap"):
        child_kind("v1", "ConfigMap")


def rolling(rollout: str, surge: int) -> Body:
    spec = {"replicas": 2, "strategy": {"rollingUpdate": {"maxSurge": surge}}}
    metadata = {"name": "chat", "namespace": "ns", "annotations": {"inferplan.dev/rollout": rollout}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def test_a_spare_gpu_that_comes_or_goes_is_no_reason_to_write() -> None:
    first, later = rolling("Surge", 1), rolling("DrainAndSwap", 0)
    there = child(rollout="Surge", strategy=first["spec"]["strategy"], owned_fields={"f:metadata": {}, "f:spec": {}})
    desired = [Manifest("apps/v1", "Deployment", "ns", "chat", later)]
    known = compare(desired, [there], UID, {NAME: (fingerprint(first), "u1")}, completed=False)
    assert known.is_done
    (step,) = compare(desired, [there], UID, {}, completed=False).unsure
    assert step.body == first
    changed = {**later, "spec": {**later["spec"], "replicas": 3}}
    desired = [Manifest("apps/v1", "Deployment", "ns", "chat", changed)]
    (step,) = compare(desired, [there], UID, {NAME: (fingerprint(first), "u1")}, completed=False).steps
    assert step.body == changed


# ── reading children ─────────────────────────────────────────────────────────────────────────────────────────


def body(kind: Kind, spec: Body, status: Body) -> Body:
    owner = {"kind": "InferenceScenario", "name": "chat", "uid": UID, "controller": True}
    metadata = {"name": "chat", "namespace": "ns", "uid": "u1", "generation": 2, "ownerReferences": [owner]}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, True),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}, False),
        ({}, False),
    ],
)
def test_a_deployment_is_ready_when_all_new_replicas_are_there_and_no_old_one_is(status: Body, ready: bool) -> None:  # noqa: FBT001
    assert read_child(DEPLOYMENT, body(DEPLOYMENT, {"replicas": 2}, status)).ready is ready


def test_a_job_runs_ends_or_fails() -> None:
    def job(status: Body) -> Child:
        return read_child(JOB, body(JOB, {"parallelism": 2}, status))

    assert job({"ready": 1}).detail == "1 of 2 pods run"
    done = job({"conditions": [{"type": "Complete", "status": "True"}]})
    assert (done.ready, done.finished, done.failed) == (True, True, False)
    failed = job({"conditions": [{"type": "Failed", "status": "True", "message": "too often"}]})
    assert (failed.ready, failed.failed, failed.detail) == (False, True, "the run failed: too often")


def test_others_are_ready_when_they_are_there() -> None:
    assert read_child(SERVICE, body(SERVICE, {}, {})).ready
    found = read_child(CRON_JOB, body(CRON_JOB, {"schedule": "0 1 * * *", "timeZone": "Europe/Berlin"}, {}))
    assert (found.ready, found.detail) == (True, "runs at 0 1 * * * Europe/Berlin")
