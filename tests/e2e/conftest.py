"""A cluster to test on, and in it a place for each test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controlplane import nodes
from tests.controlplane.api import documents, eventually
from tests.controlplane.choice import start_cluster
from tests.controlplane.cluster import Cluster, refuse_foreign
from tests.controlplane.processes import stopped_at_the_end
from tests.e2e.operating import Operator, Place, home_of_operators

ROOT = Path(__file__).resolve().parents[2]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses the cluster, so that none of them slips into the fast ones."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line past pytest's capturing: a first build takes minutes, and somebody is waiting."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)  # noqa: T201

    return line


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Iterator[Cluster]:
    """Start the cluster that all tests of a session share; its logs are kept if one fails."""
    failed_before = request.session.testsfailed
    cluster = start_cluster(say)
    try:
        refuse_foreign(cluster.kubeconfig)
        yield cluster
    finally:
        cluster.stop(keep_logs=request.session.testsfailed > failed_before)


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """Make a namespace for one test; afterwards it is being deleted, and the GPUs that its pods held are free."""
    control_plane.processes.check()
    api, name = control_plane.api, f"e2e-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    eventually(lambda: api.find("v1", "ServiceAccount", "default", name), f"{name}'s default service account")
    yield name
    # Nothing new can be made in a namespace that is going, so pods taken away now stay away; the rest takes the
    # namespace controller five to ten seconds, and nobody has to wait for that.
    api.delete("v1", "Namespace", name)
    api.request("DELETE", api.path("v1", "Pod", namespace=name), {"gracePeriodSeconds": 0})
    eventually(lambda: api.list("v1", "Pod", name) == [], f"no pods in {name}")


@pytest.fixture
def gpu_nodes(control_plane: Cluster) -> Iterator[None]:
    """Give the cluster the nodes of the demo for one test: T4, L4, A100 and H100."""
    nodes.apply(control_plane.api, nodes.demo_pools())
    yield
    nodes.clear(control_plane.api)


@pytest.fixture
def no_nodes(control_plane: Cluster) -> Iterator[None]:
    """Let each test say which nodes there are."""
    nodes.clear(control_plane.api)
    yield
    nodes.clear(control_plane.api)


@pytest.fixture(scope="session")
def crd(control_plane: Cluster) -> str:
    """Install the resource's definition, and return its API version once it is served."""
    api, group_version = control_plane.api, ""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        for definition in documents(path):
            api.apply(definition)
            name = definition["metadata"]["name"]

            def established(name: str = name) -> bool:
                found = api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
                conditions = {one["type"]: one["status"] for one in found["status"].get("conditions") or []}
                return conditions.get("Established") == "True"

            eventually(established, f"{name} established")
            group_version = f"{definition['spec']['group']}/{definition['spec']['versions'][0]['name']}"
            kind = definition["spec"]["names"]["kind"]
            eventually(lambda: api.list(group_version, kind, "default") == [], f"{kind} served")  # noqa: B023
    return group_version


@pytest.fixture(scope="module")
def operator(control_plane: Cluster, crd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Run one operator for the whole cluster and all tests of a module, with the account and rules of the chart."""
    assert crd
    logs = tmp_path_factory.mktemp("operator")
    with home_of_operators(control_plane) as home, stopped_at_the_end(logs) as processes:
        one = Operator(control_plane, processes, home, "operator")
        one.start()
        yield one


@pytest.fixture
def place(control_plane: Cluster, crd: str, namespace: str) -> Iterator[Place]:
    """Give a test a namespace for scenarios; they are gone afterwards, and claim nothing any more."""
    assert crd
    one = Place(control_plane.api, namespace)
    yield one
    one.clear()
