"""The chart as helm installs, upgrades and uninstalls it, and what it lets whom do."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferplan.catalog import load_catalog
from inferplan.kube.prices import PriceBook, read_book
from tests.controlplane import chart as charts
from tests.controlplane import nodes
from tests.controlplane.api import Object, eventually
from tests.controlplane.chart import CHART, RELEASE, Operator
from tests.controlplane.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = "inferencescenarios.inferplan.dev"
EXTENSIONS = "apiextensions.k8s.io/v1"

Install = Callable[..., str]


@pytest.fixture
def restricted(control_plane: Cluster, namespace: str) -> str:
    """Let only pods into the test's namespace that keep the strictest of Kubernetes' standards."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    control_plane.api.merge(metadata, {"metadata": {"labels": labels}})
    return namespace


@pytest.fixture
def install(control_plane: Cluster, restricted: str) -> Iterator[Install]:
    """Install or upgrade the release with further words for helm; it is uninstalled afterwards."""
    nodes.apply(control_plane.api, [nodes.plain_node("plain")])

    def run(*words: str, chart: Path = CHART) -> str:
        return charts.install(control_plane, restricted, *words, chart=chart)

    yield run
    control_plane.helm("uninstall", RELEASE, "--namespace", restricted, "--ignore-not-found", "--wait")
    nodes.delete(control_plane.api, ["plain"])


def rendered(cluster: Cluster, *words: str) -> list[Object]:
    version = cluster.api.request("GET", "/version")["gitVersion"]
    text = cluster.helm("template", RELEASE, str(CHART), "--namespace", "here", "--kube-version", version, *words)
    return [document for document in yaml.safe_load_all(text) if document]


def only(objects: list[Object], kind: str) -> Object:
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


def refusal(cluster: Cluster, *words: str) -> str:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        rendered(cluster, *words)
    return str(caught.value.output)


# ── installed, upgraded, uninstalled ─────────────────────────────────────────────────────────────────────────


def test_helm_finds_nothing_to_object_to(control_plane: Cluster) -> None:
    for values in ([], ["--set", "replicas=2"], ["--set", "watchNamespaces={a,b}"]):
        assert "0 chart(s) failed" in control_plane.helm("lint", str(CHART), "--strict", *values)


def test_the_packed_chart_installs_under_restricted_pod_security_and_says_what_to_do_next(
    control_plane: Cluster, restricted: str, install: Install, tmp_path: Path
) -> None:
    control_plane.helm("package", str(CHART), "--destination", str(tmp_path))
    (packed,) = tmp_path.glob("inferplan-*.tgz")
    with tarfile.open(packed) as archive:
        assert f"inferplan/files/{DEFINITION}.yaml" in archive.getnames()
    notes = install(chart=packed).partition("NOTES:")[2]

    api = control_plane.api
    assert api.get("apps/v1", "Deployment", RELEASE, restricted)["status"]["readyReplicas"] == 1
    definition = api.get(EXTENSIONS, "CustomResourceDefinition", DEFINITION)
    committed = yaml.safe_load((ROOT / "crds" / f"{DEFINITION}.yaml").read_text(encoding="utf-8"))
    assert definition["spec"]["versions"] == committed["spec"]["versions"]

    example = yaml.safe_load(notes.partition("<<EOF")[2].partition("EOF")[0])
    example["metadata"]["namespace"] = restricted
    assert eventually(lambda: api.apply(example, dry_run=True), "the scenario of the notes is accepted")


def test_an_upgrade_brings_new_values_and_the_new_definition(
    control_plane: Cluster, restricted: str, install: Install, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(CHART, older)
    definition = older / "files" / f"{DEFINITION}.yaml"
    text = definition.read_text(encoding="utf-8")
    definition.write_text(text.replace("      - isc\n", "      - oldname\n"), encoding="utf-8")
    install(chart=older)
    api = control_plane.api

    def short_names() -> list[str]:
        found: list[str] = api.get(EXTENSIONS, "CustomResourceDefinition", DEFINITION)["spec"]["names"]["shortNames"]
        return found

    assert short_names() == ["oldname"]

    install("--set", "replicas=2", "--set", "logFormat=text")
    assert short_names() == ["isc"]
    deployment = api.get("apps/v1", "Deployment", RELEASE, restricted)
    assert deployment["spec"]["replicas"] == 2
    assert "--log-format=text" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    budget = api.get("policy/v1", "PodDisruptionBudget", RELEASE, restricted)
    eventually(
        lambda: api.get("policy/v1", "PodDisruptionBudget", RELEASE, restricted)["status"]["expectedPods"] == 2,
        f"{budget['metadata']['name']} sees both",
    )


def test_uninstalling_takes_everything_but_the_definition_and_the_scenarios(
    control_plane: Cluster, restricted: str, install: Install
) -> None:
    install(*price("usdPerHour=4.60", "asOf=2026-11-01"))
    api = control_plane.api
    scenario = {
        "apiVersion": "inferplan.dev/v1alpha1",
        "kind": "InferenceScenario",
        "metadata": {"name": "kept", "namespace": restricted},
        "spec": {"useCase": "Chatbot", "deploy": {"policy": "Plan"}},
    }
    eventually(lambda: api.apply(scenario), "the resource is served")
    assert ours(control_plane, restricted)

    control_plane.helm("uninstall", RELEASE, "--namespace", restricted, "--wait")
    eventually(lambda: ours(control_plane, restricted) == [], "nothing of the release is left")
    assert api.find("inferplan.dev/v1alpha1", "InferenceScenario", "kept", restricted)


def ours(cluster: Cluster, namespace: str) -> list[str]:
    """Name what carries the label of the release."""
    kinds = "deployments,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,pods,leases"
    wide = "clusterroles,clusterrolebindings"
    labels = f"--selector=app.kubernetes.io/instance={RELEASE}"
    names = cluster.kubectl("get", kinds, "-n", namespace, labels, "-o", "name", "--ignore-not-found").split()
    every = cluster.kubectl("get", wide, labels, "-o", "name", "--ignore-not-found").split()
    return names + [name for name in every if f"/{namespace}-" in name]


# ── what may be said in values ───────────────────────────────────────────────────────────────────────────────


def price(*changes: str) -> list[str]:
    """Write a whole price for helm, with changes."""
    written = {"provider": "aws", "region": "us-east-1", "instanceType": "g6.12xlarge", "gpu": "l4", "gpuCount": "4"}
    written |= {"source": "our contract"} | dict(change.split("=", 1) for change in changes)
    words = []
    for name, value in written.items():
        option = "--set" if name == "gpuCount" else "--set-string"
        words += [option, f"priceBook.prices[0].{name}={value}"]
    return words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "replica=2"], "'replica' not allowed"),
        (["--set", "image.repositry=x"], "'repositry' not allowed"),
        (["--set", "crds.enabled=false"], "'enabled' not allowed"),
        (["--set", "replicas=two"], "got string, want integer"),
        (["--set", "replicas=9"], "maximum: got 9, want 3"),
        (["--set", "image.tag=latest"], "/image/tag"),
        (["--set", "watchNamespaces={Team_A}"], "/watchNamespaces/0"),
        (["--set", "logFormat=xml"], "'text', 'json'"),
        (["--set", "priceBook.prices[0].provider=aws"], "missing properties"),
        (price("usdPerHour=$4.60", "asOf=2026-11-01"), "/priceBook/prices/0/usdPerHour"),
        (price("usdPerHour=4.60", "asOf=yesterday"), "/priceBook/prices/0/asOf"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_misspelt_or_impossible_is_refused_by_name(control_plane: Cluster, words: list[str], said: str) -> None:
    assert said in refusal(control_plane, *words)


def test_prices_and_node_pools_in_values_are_read_as_they_are_written(control_plane: Cluster, tmp_path: Path) -> None:
    pool = {
        "name": "spare",
        "provider": "aws",
        "region": "us-east-1",
        "instanceType": "g6.12xlarge",
        "gpu": "l4",
        "gpuCount": 4,
        "maximumNodes": 3,
        "labels": {"pool": "spare"},
        "taints": [{"key": "nvidia.com/gpu"}],
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"priceBook": {"nodePools": [pool]}}), encoding="utf-8")
    objects = rendered(control_plane, "-f", str(values), *price("usdPerHour=4.6013", "asOf=2026-11-01"))
    config_map = only(objects, "ConfigMap")
    config_map["metadata"] |= {"uid": "1", "resourceVersion": "1"}
    book = read_book(config_map, PriceBook(), load_catalog())
    assert book.faults == ()
    assert [(one.name, one.maximum_nodes, one.selector) for one in book.pools] == [("spare", 3, (("pool", "spare"),))]
    (offering,) = book.offerings
    assert (offering.instance_type, str(offering.price_usd_per_hour), str(offering.as_of)) == (
        "g6.12xlarge",
        "4.6013",
        "2026-11-01",
    )


def test_a_digest_decides_which_image_runs(control_plane: Cluster) -> None:
    digest = f"sha256:{'a' * 64}"
    objects = rendered(control_plane, "--set", "image.repository=r.example:5000/i", "--set", f"image.digest={digest}")
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].startswith("r.example:5000/i:")
    assert container["image"].endswith(f"@{digest}")


# ── who may do what ──────────────────────────────────────────────────────────────────────────────────────────

# verb, resource[.group][/subresource], and after a colon the name of one object
ALLOWED_WHERE_SCENARIOS_ARE = [
    "list inferencescenarios.inferplan.dev",
    "watch inferencescenarios.inferplan.dev",
    "patch inferencescenarios.inferplan.dev/status",
    *(
        f"{verb} {kind}"
        for kind in ("deployments.apps", "jobs.batch", "cronjobs.batch", "services", "poddisruptionbudgets.policy")
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    ),
    "create events",
    "patch events",
]
ALLOWED_EVERYWHERE = [
    *(f"{verb} {kind}" for kind in ("nodes", "pods") for verb in ("list", "watch")),
    "list nodepools.karpenter.sh",
    "list nodeoverlays.karpenter.sh",
]
ALLOWED_AT_HOME = [
    "create leases.coordination.k8s.io",
    f"get leases.coordination.k8s.io:{RELEASE}",
    f"update leases.coordination.k8s.io:{RELEASE}",
    "get configmaps:inferplan-price-book",
]
REFUSED_EVERYWHERE = [
    *(f"{verb} secrets" for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *(f"{verb} inferencescenarios.inferplan.dev" for verb in ("create", "update", "patch", "delete")),
    *(f"{verb} pods" for verb in ("create", "patch", "delete")),
    "create pods/exec",
    "get pods/log",
    *(f"{verb} nodes" for verb in ("create", "patch", "delete")),
    "list configmaps",
    "get configmaps:another",
    "update leases.coordination.k8s.io:another",
    "create serviceaccounts/token",
    "create roles.rbac.authorization.k8s.io",
    "create clusterrolebindings.rbac.authorization.k8s.io",
    "impersonate users",
    "patch customresourcedefinitions.apiextensions.k8s.io",
    "delete namespaces",
    "* *.*",
]


def may(cluster: Cluster, user: str, question: str, namespace: str) -> bool:
    """Ask the API server what ``kubectl auth can-i`` asks, for any user."""
    verb, _, what = question.partition(" ")
    what, _, name = what.partition(":")
    what, _, subresource = what.partition("/")
    resource, _, group = what.partition(".")
    attributes = {"verb": verb, "resource": resource, "group": group, "subresource": subresource, "name": name}
    parts = user.split(":")
    groups = ["system:authenticated"]
    if parts[:2] == ["system", "serviceaccount"]:
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"]
    spec = {"user": user, "groups": groups, "resourceAttributes": {**attributes, "namespace": namespace}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = cluster.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_the_operator_may_do_its_work_in_the_whole_cluster_and_nothing_else(
    control_plane: Cluster, restricted: str, install: Install
) -> None:
    install()
    operator = f"system:serviceaccount:{restricted}:{RELEASE}"
    for question in (*ALLOWED_WHERE_SCENARIOS_ARE, *ALLOWED_EVERYWHERE):
        assert may(control_plane, operator, question, "default"), question
    for question in ALLOWED_AT_HOME:
        assert may(control_plane, operator, question, restricted), question
        assert not may(control_plane, operator, question, "default"), question
    for question in REFUSED_EVERYWHERE:
        for namespace in (restricted, "default", "kube-system"):
            assert not may(control_plane, operator, question, namespace), (question, namespace)


def test_with_namespaces_named_the_operator_may_change_nothing_outside_them(
    control_plane: Cluster, restricted: str, install: Install
) -> None:
    install("--set", f"watchNamespaces={{{restricted}}}")
    operator = f"system:serviceaccount:{restricted}:{RELEASE}"
    for question in ALLOWED_WHERE_SCENARIOS_ARE:
        assert may(control_plane, operator, question, restricted), question
        assert not may(control_plane, operator, question, "default"), question
    for question in ALLOWED_EVERYWHERE:
        assert may(control_plane, operator, question, "default"), question


@pytest.mark.parametrize(
    ("role", "verbs"), [("view", {"list"}), ("edit", {"list", "patch"}), ("admin", {"list", "patch"})]
)
def test_who_may_view_or_edit_a_namespace_may_do_so_with_its_scenarios(
    control_plane: Cluster, restricted: str, install: Install, role: str, verbs: set[str]
) -> None:
    install()
    control_plane.kubectl("create", "rolebinding", role, f"--clusterrole={role}", "--user=somebody", "-n", restricted)

    def asked(verb: str, subresource: str = "") -> bool:
        return may(control_plane, "somebody", f"{verb} inferencescenarios.inferplan.dev{subresource}", restricted)

    eventually(lambda: {verb for verb in ("list", "patch") if asked(verb)} == verbs, f"what {role} may")
    assert not asked("patch", "/status")


def test_no_rule_names_a_secret_or_everything(control_plane: Cluster) -> None:
    for words in ([], ["--set", "watchNamespaces={a,b}"]):
        objects = rendered(control_plane, *words)
        rules = [rule for one in objects for rule in one.get("rules", ())]
        assert rules
        for rule in rules:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


def test_the_operators_pod_is_confined(control_plane: Cluster) -> None:
    pod: dict[str, Any] = only(rendered(control_plane), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {probe for probe in container if probe.endswith("Probe")} == {
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    }
    assert container["resources"]["limits"]["memory"]


# ── at work ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def operate(control_plane: Cluster, restricted: str) -> Iterator[Callable[..., Operator]]:
    """Start the operator as the installed release says, by another name if asked; it is stopped afterwards."""
    started = []

    def run(name: str = "operator", path: str = "/readyz") -> Operator:
        operator = charts.start_operator(control_plane, restricted, name)
        started.append(name)
        charts.wait_until_ready(control_plane, operator, path)
        return operator

    yield run
    for name in set(started) & set(control_plane.processes.pids):
        control_plane.processes.kill(name)


def chatbot(namespace: str) -> Object:
    spec = {"useCase": "Chatbot", "hardware": {"allow": ["l4"]}}
    metadata = {"name": "chatbot", "namespace": namespace}
    return {"apiVersion": "inferplan.dev/v1alpha1", "kind": "InferenceScenario", "metadata": metadata, "spec": spec}


def scenario_is(cluster: Cluster, namespace: str, condition: str) -> Callable[[], Object | None]:
    """Probe for the scenario's status with a condition that is true."""

    def probe() -> Object | None:
        cluster.processes.check()
        status: Object = cluster.api.get("inferplan.dev/v1alpha1", "InferenceScenario", "chatbot", namespace)["status"]
        true = {one["type"] for one in status.get("conditions", []) if one["status"] == "True"}
        return status if condition in true else None

    return probe


@pytest.mark.usefixtures("gpu_nodes")
def test_with_the_charts_rules_and_no_others_a_scenario_comes_to_run(
    control_plane: Cluster, restricted: str, install: Install, operate: Callable[..., Operator]
) -> None:
    """The engine's pod keeps the strictest standard, too: the namespace would not take it otherwise."""
    api = control_plane.api
    install()
    control_plane.audit.mark()
    operator = operate()
    assert operator.answer("/healthz")[0] == 200
    api.apply(chatbot(restricted))
    status = eventually(scenario_is(control_plane, restricted, "Ready"), "the scenario is ready")
    assert status["plan"]["gpuName"] == "L4"
    pods = api.list("v1", "Pod", restricted, "inferplan.dev/scenario=chatbot")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"gpu-l4"}
    assert "inferplan_leader 1.0" in operator.answer("/metrics")[1]
    assert control_plane.audit.forbidden(operator.user) == []
    asked = {request.resource for request in control_plane.audit.requests(operator.user)}
    assert asked & {"secrets", "customresourcedefinitions.apiextensions.k8s.io"} == set()


@pytest.mark.usefixtures("gpu_nodes")
def test_with_namespaces_named_the_operator_works_there_and_leaves_the_rest_alone(
    control_plane: Cluster, restricted: str, install: Install, operate: Callable[..., Operator]
) -> None:
    api = control_plane.api
    elsewhere = f"{restricted}-elsewhere"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere}})
    try:
        install("--set", f"watchNamespaces={{{restricted}}}")
        control_plane.audit.mark()
        operator = operate()
        api.apply(chatbot(elsewhere))
        api.apply(chatbot(restricted))
        eventually(scenario_is(control_plane, restricted, "Ready"), "the scenario is ready")
        left = api.get("inferplan.dev/v1alpha1", "InferenceScenario", "chatbot", elsewhere)
        assert left["status"] == {"observedGeneration": -1}
        assert control_plane.audit.forbidden(operator.user) == []
    finally:
        api.delete("v1", "Namespace", elsewhere)


def test_of_two_replicas_one_works_and_the_other_is_ready_to_take_over(
    control_plane: Cluster, restricted: str, install: Install, operate: Callable[..., Operator]
) -> None:
    install("--set", "replicas=2")
    pod = control_plane.api.get("apps/v1", "Deployment", RELEASE, restricted)["spec"]["template"]["spec"]
    path = pod["containers"][0]["readinessProbe"]["httpGet"]["path"]
    first, second = operate("first"), operate("second", path)
    assert first.answer(path)[0] == 200
    assert second.answer("/readyz") == (503, "lease not held; caches not listed\n")

    control_plane.processes.kill("first")
    eventually(lambda: second.answer("/readyz")[0] == 200, "the second has taken over", 20)


@pytest.mark.usefixtures("gpu_nodes")
def test_a_price_in_the_charts_values_becomes_the_price_of_the_plan(
    control_plane: Cluster, restricted: str, install: Install, operate: Callable[..., Operator]
) -> None:
    install()
    operate()
    scenario = chatbot(restricted)
    scenario["spec"]["deploy"] = {"policy": "Plan"}
    control_plane.api.apply(scenario)
    before = eventually(scenario_is(control_plane, restricted, "Ready"), "the scenario is planned")["plan"]["cost"]

    install(*price("usdPerHour=4.0000", "asOf=2026-11-01"))

    def priced_anew() -> Object | None:
        found = scenario_is(control_plane, restricted, "Ready")()
        return found["plan"]["cost"] if found is not None and found["plan"]["cost"] != before else None

    cost = eventually(priced_anew, "the new price is in the status")
    assert (cost["usdPerHour"], cost["priceSource"], cost["pricedAt"]) == (
        "1",
        "price book: our contract",
        "2026-11-01",
    )


# ── beside the chart ─────────────────────────────────────────────────────────────────────────────────────────


def test_argo_cds_settings_take_the_health_check_and_keep_the_rest(control_plane: Cluster, namespace: str) -> None:
    """As the page on operations says."""
    settings = {"metadata": {"name": "argocd-cm", "namespace": namespace}, "data": {"url": "https://argocd.example"}}
    control_plane.api.create({"apiVersion": "v1", "kind": "ConfigMap", **settings})
    script = ROOT / "docs/gitops/argocd/resource_customizations/inferplan.dev/InferenceScenario/health.lua"
    key = "resource.customizations.health.inferplan.dev_InferenceScenario"
    patch = control_plane.kubectl(
        "create",
        "configmap",
        "argocd-cm",
        "-n",
        namespace,
        f"--from-file={key}={script}",
        "--dry-run=client",
        "-o",
        "yaml",
    )
    file = control_plane.folder / "argocd-cm.yaml"
    file.write_text(patch, encoding="utf-8")
    control_plane.kubectl("apply", "--server-side", "--field-manager=inferplan", "-f", str(file))
    data = control_plane.api.get("v1", "ConfigMap", "argocd-cm", namespace)["data"]
    assert data == {"url": "https://argocd.example", key: script.read_text(encoding="utf-8")}
