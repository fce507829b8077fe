"""Why pods do not come: read from Deployments and pods, told in their words, and no more often than it changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest

from inferplan.kube.client import Body
from inferplan.kube.conditions import conditions
from inferplan.kube.fields import Writer
from inferplan.kube.inbox import Key
from inferplan.kube.kinds import DEPLOYMENT, JOB
from inferplan.kube.trouble import UNSCHEDULABLE_S, PodState, Trouble, Wording, child_trouble, read_pod_state
from inferplan.kube.view import timestamp
from inferplan.kube.work import Work
from tests.unit.kube.test_work import NAME, child
from tests.unit.kube.views import NOW, conditions_of, make_body, make_facts, make_view, priced, status_after

KEY = Key("ns", "chat")
QUOTA = 'pods "chat-1" is forbidden: exceeded quota: nogpu'
FULL = "0/6 nodes are available: 1 Insufficient nvidia.com/gpu, 5 node(s) had untolerated taint(s)."
PLAN = priced("4.00")


def deployment(*rows: Mapping[str, Any], seen: int = 2) -> Body:
    return {"metadata": {"generation": 2}, "status": {"observedGeneration": seen, "conditions": list(rows)}}


FAILED_CREATE = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA}
TOO_LATE = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": 'ReplicaSet "chat-1" has timed out progressing.',
}


def pod(status: Mapping[str, Any], name: str = "chat-1", **metadata: Any) -> Body:
    base = {"name": name, "namespace": "ns", "labels": {"inferplan.dev/scenario": "chat"}}
    return {"metadata": base | metadata, "status": {"phase": "Pending", **status}}


def unscheduled(message: str = FULL, *, for_s: float = 0.0, reason: str = "Unschedulable") -> Body:
    since = timestamp(NOW - dt.timedelta(seconds=for_s))
    row = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastTransitionTime": since}
    return pod({"conditions": [row]})


def waiting(reason: str, message: str = "no luck", **more: Any) -> Body:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod({"containerStatuses": [{"name": "server", "image": "example.org/x:1", "state": state, **more}]})


def read(body: Body) -> PodState:
    found = read_pod_state(body)
    assert found is not None
    return found[1]


def blocked(*pods: Body, **fields: Any) -> tuple[Work, tuple[Trouble, ...]]:
    troubles = Wording().of(KEY, [read(one) for one in pods])
    return Work(wanted=(NAME,), present=(child(ready=False, detail="0 of 2 replicas available", **fields),)), troubles


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deployment_says_what_refuses_its_pods_and_that_it_is_late() -> None:
    first, second = child_trouble(DEPLOYMENT, deployment(FAILED_CREATE, TOO_LATE))
    assert str(first) == f"ReplicaFailure: FailedCreate: {QUOTA}"
    assert str(second) == 'ProgressDeadlineExceeded: ReplicaSet "chat-1" has timed out progressing.'


def test_what_a_deployment_said_of_its_spec_before_or_says_no_more_is_not_told() -> None:
    assert child_trouble(DEPLOYMENT, deployment(FAILED_CREATE, seen=1)) == ()
    assert child_trouble(DEPLOYMENT, deployment(FAILED_CREATE | {"status": "False"})) == ()
    assert child_trouble(JOB, deployment(FAILED_CREATE)) == ()


def test_a_pod_without_trouble_and_one_on_its_way_out_are_not_kept() -> None:
    for body in (
        pod({}),
        pod({"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}]}),
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        pod(unscheduled()["status"], deletionTimestamp="2026-11-25T12:00:00Z"),
    ):
        assert read_pod_state(body) is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("ErrImagePull", "ImagePullBackOff"),
        ("ImagePullBackOff", "ImagePullBackOff"),
        ("InvalidImageName", "InvalidImageName"),
        ("CreateContainerConfigError", "CreateContainerConfigError"),
    ],
)
def test_a_container_says_why_it_waits_and_stalls(told: str, reason: str) -> None:
    found = read(waiting(told))
    assert (found.scenario, found.name, found.phase) == (KEY, "chat-1", "Pending")
    assert str(found.trouble) == f"{reason}: container server: no luck"
    assert found.trouble.stalls(NOW)


def test_a_container_of_the_start_is_read_too() -> None:
    status = waiting("CreateContainerConfigError")["status"]
    assert read(pod({"initContainerStatuses": status["containerStatuses"]})).trouble.stalls(NOW)


def test_a_container_that_crashes_is_told_by_its_end_and_the_same_between_two_tries() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    back_off = waiting("CrashLoopBackOff", "back-off 5m0s restarting", lastState=ended, restartCount=4)
    running = {"name": "server", "state": {"running": {}}, "lastState": ended, "restartCount": 4, "ready": False}
    first, second = read(back_off).trouble, read(pod({"containerStatuses": [running]})).trouble
    assert first == second
    assert str(first) == "CrashLoopBackOff: container server ended with exit code 137 (OOMKilled)"
    assert not first.stalls(NOW)
    assert read_pod_state(pod({"containerStatuses": [running | {"ready": True}]})) is None


def test_a_pod_that_waits_for_a_node_stalls_only_after_a_time() -> None:
    young, old = read(unscheduled(for_s=60)).trouble, read(unscheduled(for_s=UNSCHEDULABLE_S)).trouble
    assert (young.stalls(NOW), young.stalls_in_s(NOW)) == (False, UNSCHEDULABLE_S - 60)
    assert old.stalls(NOW)
    gated = read(unscheduled(for_s=UNSCHEDULABLE_S, reason="SchedulingGated")).trouble
    assert (gated.stalls(NOW), gated.stalls_in_s(NOW)) == (False, None)


def test_messages_are_bounded() -> None:
    assert len(read(unscheduled("x" * 10_000)).trouble.text) == 500


# ── wording ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_other_counts_are_no_new_text_but_another_cause_is() -> None:
    wording = Wording()

    def told(*bodies: Body) -> list[str]:
        return [one.text for one in wording.of(KEY, [read(one) for one in bodies])]

    other_counts = "0/8 nodes are available: 2 node(s) had untolerated taint(s), 6 Insufficient nvidia.com/gpu."
    other_cause = "0/8 nodes are available: 8 Insufficient cpu."
    assert told(unscheduled()) == [FULL]
    assert told(unscheduled(other_counts)) == [FULL]
    assert told(unscheduled(other_cause)) == [other_cause]
    assert told(waiting("ErrImagePull", "not found")) == ["container server: not found"]
    assert told(waiting("ImagePullBackOff", "Back-off pulling")) == ["container server: not found"]
    assert told() == []
    assert told(waiting("ImagePullBackOff", "Back-off pulling")) == ["container server: Back-off pulling"]


def test_many_pods_with_one_cause_tell_it_once_with_the_time_of_the_first() -> None:
    (found,) = Wording().of(KEY, [read(unscheduled()), read(unscheduled(for_s=30)), read(unscheduled(for_s=5))])
    assert found.since == timestamp(NOW - dt.timedelta(seconds=30))


# ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_stalls_with_its_own_reason_and_is_over_when_the_cause_is() -> None:
    body = make_body()
    work, _ = blocked(troubles=child_trouble(DEPLOYMENT, deployment(FAILED_CREATE)))
    status = status_after(make_view(body, PLAN), work)
    found = conditions_of(status)
    assert found["WorkloadAvailable"] == ("False", "ReplicaFailure")
    assert found["Ready"] == ("False", "ReplicaFailure")
    assert found["Stalled"] == ("True", "ReplicaFailure")
    assert found["Reconciling"] == ("False", "Stalled")
    said = {one["type"]: one["message"] for one in status["conditions"]}
    assert said["Stalled"] == f"0 of 2 replicas available; ReplicaFailure: FailedCreate: {QUOTA}"
    after = conditions_of(status_after(make_view(body, PLAN), blocked()[0]))
    assert (after["Stalled"][0], after["Reconciling"]) == ("False", ("True", "Progressing"))


def test_waiting_for_a_node_is_under_way_and_told_and_looked_at_again_when_the_time_is_over() -> None:
    work, troubles = blocked(unscheduled(for_s=60))
    facts = make_facts(make_view(make_body(), PLAN, troubles=troubles), work)
    found = {one["type"]: one for one in conditions(facts)}
    assert (found["Stalled"]["status"], found["Reconciling"]["reason"]) == ("False", "Unschedulable")
    assert found["Reconciling"]["message"] == f"0 of 2 replicas available; Unschedulable: {FULL}"
    assert facts.look_again_s == UNSCHEDULABLE_S - 60
    later = NOW + dt.timedelta(seconds=UNSCHEDULABLE_S - 60)
    late = make_facts(make_view(make_body(), PLAN, troubles=troubles, now=later), work)
    assert {one["type"]: one["reason"] for one in conditions(late)}["Stalled"] == "Unschedulable"
    assert late.look_again_s is None


def test_what_somebody_has_to_act_on_comes_first_and_the_rest_is_told_too() -> None:
    work, troubles = blocked(unscheduled(), troubles=child_trouble(DEPLOYMENT, deployment(TOO_LATE)))
    status = status_after(make_view(make_body(), PLAN, troubles=troubles), work)
    assert conditions_of(status)["Stalled"] == ("True", "ProgressDeadlineExceeded")
    assert "Unschedulable: 0/6" in {one["type"]: one["message"] for one in status["conditions"]}["Stalled"]


def test_an_old_pod_in_trouble_is_not_told_of_a_workload_that_is_available() -> None:
    troubles = Wording().of(KEY, [read(waiting("ImagePullBackOff"))])
    found = conditions_of(
        status_after(make_view(make_body(), PLAN, troubles=troubles), Work(wanted=(NAME,), present=(child(),)))
    )
    assert (found["WorkloadAvailable"], found["Stalled"][0]) == (("True", "Available"), "False")


def test_what_others_have_added_to_pods_is_told_only_while_they_are_not_available() -> None:
    selector: Any = {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {"f:foo": {}}}}}}
    writers = (Writer("kubectl-edit", "", "", selector),)
    work, troubles = blocked(unscheduled(), writers=writers)
    said = "0 of 2 replicas available; kubectl-edit added spec.template.spec.nodeSelector.foo; Unschedulable: "
    facts = make_facts(make_view(make_body(), PLAN, troubles=troubles), work)
    assert {one["type"]: one["message"] for one in conditions(facts)}["WorkloadAvailable"].startswith(said)
    there = Work(wanted=(NAME,), present=(child(writers=writers),))
    assert "kubectl-edit" not in str(conditions(make_facts(make_view(make_body(), PLAN), there)))
