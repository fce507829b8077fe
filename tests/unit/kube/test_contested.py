"""Fields that another controller sets again and again are left to it, and it is named."""

from __future__ import annotations

from typing import Any

from inferplan.kube.child import Child
from inferplan.kube.client import Body
from inferplan.kube.contested import REPAIRS, STILL_S, WITHIN_S, Contests
from inferplan.kube.events import happenings
from inferplan.kube.fields import Writer
from inferplan.kube.inbox import Key
from inferplan.kube.kinds import SERVICE
from inferplan.kube.work import Work, compare, fingerprint
from tests.unit.kube.test_work import BODY, NAME, OWNED, UID, child, manifest
from tests.unit.kube.views import conditions_of, make_body, make_facts, make_view, priced, status_after

KEY = Key("ns", "chat")
SCALER = Writer("kube-controller-manager", "scale", "12:00:00", {"f:spec": {"f:replicas": {}}})
WITHOUT_REPLICAS: dict[str, Any] = {**OWNED, "f:spec": {"f:paused": {}}}


class Fight:
    """Somebody who takes the replicas, and we who repair them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.contests = Contests(lambda: self.now)

    def look(self, writer: Writer = SCALER, asked: str = "1", body: Body = BODY, **fields: Any) -> Work:
        """Look at the Deployment after its replicas were taken."""
        there: Child = child(owned_fields=WITHOUT_REPLICAS, writers=(writer,), **fields)
        wanted = [manifest(), manifest(SERVICE)]
        wanted[0] = type(wanted[0])(wanted[0].api_version, wanted[0].kind, "ns", "chat", body)
        applied = {NAME: (fingerprint(BODY), "u1")}
        return self.contests.settle(KEY, compare(wanted, [there], UID, applied, completed=False), asked)

    def repair(self, **more: Any) -> int:
        """Look, and repair what is to be repaired; return how much that was."""
        drifted = [step for step in self.look(**more).steps if step.drift]
        for step in drifted:
            self.contests.repaired(KEY, step)
        return len(drifted)

    def lose(self) -> None:
        """Let it come to where the field is left alone."""
        for _ in range(REPAIRS):
            assert self.repair() == 1
            self.now += 15.0
        assert self.repair() == 0


def test_after_three_repairs_a_field_is_left_alone_and_other_children_are_not() -> None:
    fight = Fight()
    fight.lose()
    work = fight.look()
    assert [step.kind for step in work.steps] == [SERVICE]
    (said,) = work.contested
    assert said.startswith(
        'spec.replicas of Deployment chat was set 3 times in 10 minutes by "kube-controller-manager" '
        "(subresource scale: an HPA, KEDA or kubectl scale); it is left as it is. Remove whatever sets it"
    )


def test_who_sets_a_field_now_and_then_is_set_right_every_time() -> None:
    fight = Fight()
    for _ in range(3 * REPAIRS):
        assert fight.repair() == 1
        fight.now += WITHIN_S / (REPAIRS - 1) + 1.0


def test_another_spec_plan_or_request_begins_anew() -> None:
    fight = Fight()
    fight.lose()
    assert fight.repair(asked="2") == 1
    fight = Fight()
    fight.lose()
    assert fight.repair(body={**BODY, "spec": {"replicas": 5}}) == 1


def test_after_an_hour_of_stillness_it_is_repaired_and_each_change_starts_the_hour_anew() -> None:
    fight = Fight()
    fight.lose()
    fight.now += STILL_S / 2
    later = Writer(SCALER.manager, SCALER.subresource, "12:30:00", SCALER.fields)
    assert fight.look(later).contested_for_s == STILL_S
    fight.now += STILL_S - 1.0
    assert fight.look(later).contested_for_s == 1.0
    fight.now += 1.0
    assert fight.repair(writer=later) == 1


def test_a_field_that_nobody_takes_any_more_is_forgotten() -> None:
    fight = Fight()
    fight.lose()
    ours = compare([manifest()], [child()], UID, {NAME: (fingerprint(BODY), "u1")}, completed=False)
    assert fight.contests.settle(KEY, ours, "1").contested == ()
    assert fight.repair() == 1


def test_a_child_that_is_deleted_again_and_again_is_made_again() -> None:
    fight = Fight()
    gone = compare([manifest()], [], UID, {NAME: (fingerprint(BODY), "u1")}, completed=False)
    for _ in range(2 * REPAIRS):
        (step,) = fight.contests.settle(KEY, gone, "1").steps
        fight.contests.repaired(KEY, step)


def test_a_fight_is_told_as_stalled_beside_what_the_pods_are() -> None:
    work = Work(wanted=(NAME,), present=(child(),), contested=("spec.replicas of …",), contested_for_s=60.0)
    facts = make_facts(make_view(make_body(), priced("4.00")), work)
    status = status_after(facts.view, work)
    found = conditions_of(status)
    assert found["WorkloadAvailable"] == ("True", "Available")
    assert found["Stalled"] == ("True", "Contested")
    assert found["Reconciling"] == ("False", "Stalled")
    assert found["Ready"] == ("False", "Contested")
    assert facts.look_again_s == 60.0
    assert ("Contested", True) in [(one.reason, one.warning) for one in happenings(facts, status)]
