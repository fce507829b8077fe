"""The cluster under the tests behaves like one: it places, runs, cleans up, and writes down who asked for what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.controlplane import nodes
from tests.controlplane.api import Api, ApiError, Object, eventually
from tests.controlplane.cluster import Cluster

PRODUCT = "nvidia.com/gpu.product"
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def pod_spec(*, gpus: int, product: str, **more: object) -> Object:
    limits = {"nvidia.com/gpu": str(gpus)}
    return {
        "nodeSelector": {PRODUCT: product},
        "tolerations": [TOLERATION],
        "containers": [{"name": "engine", "image": "example.org/engine:1", "resources": {"limits": limits}}],
        **more,
    }


def deployment(namespace: str, *, replicas: int, spec: Object) -> Object:
    labels = {"app": "engine"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "engine", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def running_on(api: Api, namespace: str, count: int) -> Callable[[], list[str] | None]:
    """Probe for the nodes of ``count`` running pods."""

    def probe() -> list[str] | None:
        pods = api.list("v1", "Pod", namespace)
        places = sorted(pod["spec"]["nodeName"] for pod in pods if pod["status"]["phase"] == "Running")
        return places if len(places) == count else None

    return probe


@pytest.mark.usefixtures("gpu_nodes")
def test_nodes_are_ready_with_their_gpus_and_labels(control_plane: Cluster) -> None:
    found = {node["metadata"]["name"]: node for node in control_plane.api.list("v1", "Node")}
    for wanted in nodes.demo_pools():
        node = found[wanted["metadata"]["name"]]
        assert wanted["metadata"]["labels"].items() <= node["metadata"]["labels"].items()
        assert node["spec"].get("taints", []) == wanted["spec"]["taints"]
        assert node["status"]["allocatable"] == wanted["status"]["allocatable"]


@pytest.mark.usefixtures("gpu_nodes")
def test_pods_run_on_the_node_with_the_gpu_they_ask_for_and_no_more_than_fit(
    control_plane: Cluster, namespace: str
) -> None:
    api = control_plane.api
    api.create(deployment(namespace, replicas=2, spec=pod_spec(gpus=2, product="NVIDIA-L4")))
    assert eventually(running_on(api, namespace, 2), "two pods on four GPUs") == ["gpu-l4", "gpu-l4"]

    engine = api.get("apps/v1", "Deployment", "engine", namespace)
    api.merge(engine, {"spec": {"replicas": 3}})

    def refused() -> str:
        for pod in api.list("v1", "Pod", namespace):
            for condition in pod["status"].get("conditions", []):
                if condition["type"] == "PodScheduled" and condition["status"] == "False":
                    return str(condition["message"])
        return ""

    assert "Insufficient nvidia.com/gpu" in eventually(refused, "a third pod that does not fit")


@pytest.mark.usefixtures("gpu_nodes")
def test_a_cordoned_node_takes_no_pod_until_it_is_uncordoned(control_plane: Cluster, namespace: str) -> None:
    api = control_plane.api
    nodes.cordon(api, "gpu-h100")
    api.create(deployment(namespace, replicas=1, spec=pod_spec(gpus=8, product="NVIDIA-H100-80GB-HBM3")))

    def unschedulable() -> bool:
        pods = api.list("v1", "Pod", namespace)
        return bool(pods) and "unschedulable" in pods[0]["status"]["conditions"][0]["message"]

    eventually(unschedulable, "a pod that waits")
    nodes.cordon(api, "gpu-h100", cordoned=False)
    assert eventually(running_on(api, namespace, 1), "the pod runs") == ["gpu-h100"]


@pytest.mark.usefixtures("gpu_nodes")
def test_a_pod_moves_when_its_node_is_deleted(control_plane: Cluster, namespace: str) -> None:
    api = control_plane.api
    api.create(deployment(namespace, replicas=1, spec=pod_spec(gpus=1, product="Tesla-T4")))
    (place,) = eventually(running_on(api, namespace, 1), "the pod runs")
    nodes.delete(api, [place])
    (other,) = {"gpu-t4-a", "gpu-t4-b"} - {place}

    def moved() -> bool:
        return running_on(api, namespace, 1)() == [other]

    eventually(moved, f"the pod runs on {other}")


def test_what_an_owner_owns_goes_with_it(control_plane: Cluster, namespace: str) -> None:
    api = control_plane.api

    def config_map(name: str, **metadata: object) -> Object:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, **metadata}}

    owner = api.create(config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    api.create(config_map("owned", ownerReferences=[reference]))
    api.delete("v1", "ConfigMap", "owner", namespace)
    eventually(lambda: api.find("v1", "ConfigMap", "owned", namespace) is None, "the owned goes, too")


@pytest.mark.usefixtures("gpu_nodes")
def test_a_job_completes(control_plane: Cluster, namespace: str) -> None:
    api = control_plane.api
    spec = pod_spec(gpus=1, product="Tesla-T4", restartPolicy="Never")
    api.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "run", "namespace": namespace},
            "spec": {"template": {"spec": spec}},
        }
    )
    eventually(lambda: api.get("batch/v1", "Job", "run", namespace)["status"].get("succeeded") == 1, "the job is done")


def test_a_claim_for_a_volume_is_met(control_plane: Cluster, namespace: str) -> None:
    api = control_plane.api
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
    metadata = {"name": "weights", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})

    def bound() -> bool:
        claim = api.get("v1", "PersistentVolumeClaim", "weights", namespace)
        return bool(claim["status"].get("phase") == "Bound")

    eventually(bound, "the claim is bound")


def test_the_audit_log_tells_writes_rehearsals_and_refusals_of_a_service_account(
    control_plane: Cluster, namespace: str
) -> None:
    api = control_plane.api
    account = {"name": "worker", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]}]
    api.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": account, "rules": rules})
    api.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": account,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "worker"},
            "subjects": [{"kind": "ServiceAccount", **account}],
        }
    )
    worker = Api.of(control_plane.kubeconfig_for("worker", namespace))
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": namespace}}
    control_plane.audit.mark()

    eventually(lambda: worker.apply(settings, dry_run=True), "the rights take effect")
    control_plane.audit.mark()
    worker.apply(settings, dry_run=True)
    worker.apply(settings)
    with pytest.raises(ApiError, match="cannot list resource") as refusal:
        worker.list("v1", "Secret", namespace)
    assert refusal.value.reason == "Forbidden"

    user = f"system:serviceaccount:{namespace}:worker"
    (write,) = control_plane.audit.writes(user)
    assert (write.verb, write.resource, write.name) == ("patch", "configmaps", "settings")
    (forbidden,) = control_plane.audit.forbidden(user)
    assert (forbidden.verb, forbidden.resource, forbidden.namespace) == ("list", "secrets", namespace)


def test_kubectl_and_helm_talk_to_this_cluster_and_no_other(control_plane: Cluster, tmp_path: Path) -> None:
    assert control_plane.api.server in control_plane.kubectl("cluster-info")
    assert control_plane.helm("list", "--output=json", "--all-namespaces").strip() == "[]"
    assert control_plane.environment()["KUBECONFIG"] == str(control_plane.kubeconfig)
    assert not str(control_plane.folder).startswith(str(tmp_path))


def test_an_api_server_that_is_killed_comes_back_with_everything(control_plane: Cluster, namespace: str) -> None:
    if "kube-apiserver" not in control_plane.processes.pids:
        pytest.skip("the API server is not ours to kill")
    api = control_plane.api
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": namespace}}
    api.create(kept)
    control_plane.processes.kill("kube-apiserver")
    with pytest.raises(OSError, match="refused"):
        api.get("v1", "ConfigMap", "kept", namespace)
    control_plane.processes.restart("kube-apiserver")
    eventually(lambda: api.raw("GET", "/readyz") == "ok", "the API server", 60.0)
    assert api.get("v1", "ConfigMap", "kept", namespace)["metadata"]["name"] == "kept"
