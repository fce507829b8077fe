"""What pods ask for fits the machines; how long they may take covers what they do."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.errors import UnrenderableError
from inferplan.domain.model import Checkpoint, Quantization
from inferplan.domain.operation import Deploy, ModelCache
from inferplan.domain.plan import Plan
from inferplan.domain.units import GIB
from inferplan.render.refusals import plan_faults
from inferplan.render.room import room
from inferplan.render.timing import timing, weight_file_bytes
from tests.builders import make_engine, make_model, make_scenario
from tests.unit.api.outcomes import latency, make_estimate, make_plan
from tests.unit.render.plans import (
    configured,
    container,
    environment,
    in_cluster,
    make_deploy,
    make_inventory,
    make_node,
    placed,
    pod_spec,
    rendered,
)

MIB = 2**20


def test_a_pod_asks_for_two_cores_and_one_for_each_gpu() -> None:
    found = room(in_cluster(), (make_node(),))
    assert (found.cpu, found.memory, found.shared_memory_bytes) == ("3", "8192Mi", 0)


def test_a_small_machine_gives_what_it_has_less_its_daemons() -> None:
    node = make_node(
        gpus_allocatable=1, cpu_allocatable_millicores=3920, memory_allocatable_bytes=8 * GIB, instance_type="g"
    )
    found = room(in_cluster(instance_type="g"), (node,))
    assert (found.cpu, found.memory) == ("3", "7168Mi")  # 8 GiB - 1 GiB
    tiny = replace(node, cpu_allocatable_millicores=2000)
    assert room(in_cluster(instance_type="g"), (tiny,)).cpu == "1500m"


def test_gpus_of_a_machine_share_the_rest_of_it() -> None:
    node = make_node(gpus_allocatable=8, cpu_allocatable_millicores=16_500, memory_allocatable_bytes=33 * GIB)
    found = room(in_cluster(), (node,))
    assert (found.cpu, found.memory) == ("2", "4096Mi")  # an eighth of 16 cores and of 32 GiB


def test_a_machine_of_the_market_is_known_from_the_price_list() -> None:
    found = room(placed(vcpus=4, memory_gib=8.0), ())
    assert found.cpu == "3"  # 4 x 0.97 - 0.5 would leave 3.3
    assert found.memory == f"{int(8 * 0.86 * 1024) - 1024}Mi"
    assert room(placed(), ()).memory == "8192Mi"  # unknown: what the engine wants


def test_a_quarter_of_large_weights_is_asked_for_and_shared_memory_for_parallel_gpus() -> None:
    memory = replace(make_estimate().memory, weights_bytes=20.0 * GIB)
    plan = configured(make_plan(estimate=make_estimate(memory=memory)), tp_size=4)
    found = room(in_cluster(plan), (make_node(),))
    assert found.memory == f"{(20 + 4) * 1024}Mi"
    assert found.shared_memory == "4096Mi"
    pod = pod_spec(rendered(in_cluster(plan), inventory=make_inventory()))
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4096Mi"}} in pod["volumes"]
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]  # noqa: S108


def disk(plan: Plan, deploy: Deploy | None = None, *nodes: GpuNode) -> tuple[str | None, dict[str, Any]]:
    """What the pod asks for of the node's own disk, and the limits of its volumes."""
    pod = pod_spec(rendered(plan, deploy, inventory=Inventory(nodes, "test") if nodes else None))
    asked = pod["containers"][0]["resources"]["requests"].get("ephemeral-storage")
    limits = {volume["name"]: volume.get("emptyDir", {}).get("sizeLimit") for volume in pod["volumes"]}
    return asked, limits


CACHED = make_deploy(model_cache=ModelCache("weights"))
REST_MIB = (8 + 4 + 1) * 1024
"""Caches, /tmp and what is written beside the volumes."""


def test_a_pod_asks_for_the_disk_that_its_weights_take() -> None:
    weights_mib = math.ceil((14e9 * 1.1 + GIB) / MIB)  # what lies beside the weights, and a tenth
    asked, limits = disk(with_weights(14e9))
    assert asked == f"{weights_mib + REST_MIB}Mi"
    assert limits == {"weights": f"{weights_mib}Mi", "home": "8192Mi", "tmp": "4096Mi"}


def test_weights_on_a_volume_take_nothing_of_the_nodes_disk() -> None:
    asked, limits = disk(with_weights(14e9), CACHED)
    assert asked == f"{REST_MIB}Mi"
    assert limits == {"weights": None, "home": "8192Mi", "tmp": "4096Mi"}


def test_weights_that_are_quantized_while_loading_take_disk_in_16_bit() -> None:
    made = Checkpoint("a/b", "fp8_online", Quantization.FP8, made_while_loading=True)
    plan = configured(model=make_model(params_total=7_000_000_000), checkpoint=made)
    assert disk(plan)[1]["weights"] == f"{math.ceil((14e9 * 1.1 + GIB) / MIB)}Mi"


def test_replicas_on_one_node_share_its_disk_and_are_told_if_it_is_too_small() -> None:
    plan = in_cluster(with_weights(14e9))
    large, small = make_node(disk_allocatable_bytes=80 * GIB), make_node(name="b", disk_allocatable_bytes=20 * GIB)
    needed = disk(plan)[0]
    assert disk(plan, None, large)[0] == needed
    assert caution(plan, large) == ""
    # eight replicas of one GPU each: a tenth of the eight's need is there for one
    many = configured(plan, replicas=16)
    assert disk(many, None, large)[0] == f"{10 * 1024}Mi"
    assert "which has 10 GiB for it: name a modelCacheRef" in caution(many, large)
    # a pod goes where it fits, and the node where it does not is told
    assert disk(plan, None, large, small)[0] == needed
    assert "which has 20 GiB for it" in caution(plan, large, small)


def test_nodes_that_say_nothing_of_their_disk_are_asked_for_none() -> None:
    asked, limits = disk(in_cluster(with_weights(14e9)), None, make_node())
    assert asked is None  # the scheduler would find nothing of it on any node
    assert limits["weights"] is not None


def caution(plan: Plan, *nodes: GpuNode, deploy: Deploy | None = None) -> str:
    """What the objects warn of, beside the token that the model asks for."""
    found = rendered(plan, deploy, inventory=Inventory(nodes, "test") if nodes else None)["Deployment"]
    said: str = found.body["metadata"]["annotations"]["inferplan.dev/caution"]
    return said.rpartition("meta-llama/Llama-2-7b-chat-hf is gated")[0].removesuffix("; ")


def test_large_weights_ask_for_a_volume_that_outlives_the_pod() -> None:
    assert caution(with_weights(99e9)) == ""
    said = caution(with_weights(690e9))
    assert said == "weights of 690 GB are fetched to the node's own disk at every start: name a modelCacheRef"
    assert caution(with_weights(690e9), deploy=CACHED) == ""


def test_compiled_graphs_lie_beside_the_weights_where_that_volume_can_be_written_to() -> None:
    def cache(plan: Plan, deploy: Deploy | None = None) -> str:
        return str(environment(rendered(plan, deploy))["VLLM_CACHE_ROOT"])

    plan = make_plan()
    assert cache(plan) == "/home/inference/.cache/vllm"
    assert cache(plan, make_deploy(model_cache=ModelCache("weights", offline=True))) == "/home/inference/.cache/vllm"
    beside = cache(plan, CACHED)
    assert re.fullmatch(r"/models/vllm-cache/0\.33\.0-[0-9a-f]{12}", beside)
    # one for every configuration, whatever it costs and how often it runs
    assert cache(configured(max_model_len=4096), CACHED) != beside
    assert cache(configured(replicas=7), CACHED) == beside
    # what is linked in place stays in the pod
    for name in ("DG_JIT_CACHE_DIR", "HF_MODULES_CACHE"):
        assert environment(rendered(plan, CACHED))[name].startswith("/home/inference/")


def offloading(cpu_gib: int, kv_gib: int, tp_size: int = 1) -> Plan:
    engine = make_engine(cpu_offload_bytes=cpu_gib * GIB, kv_offload_bytes=kv_gib * GIB)
    return configured(engine=engine, tp_size=tp_size)


def test_what_is_offloaded_is_asked_for_beyond_what_loading_takes() -> None:
    found = room(in_cluster(offloading(4, 16, tp_size=2)), (make_node(),))
    plain = room(in_cluster(configured(tp_size=2)), (make_node(),))
    assert found.memory_bytes - plain.memory_bytes == (2 * 4 + 16) * GIB  # weights per GPU, cache per replica


@pytest.mark.parametrize("tp_size", [1, 2, 4])
def test_no_more_is_asked_for_than_the_layers_weigh(tp_size: int) -> None:
    # 6,738,415,616 parameters without the embedding and the head of 32,000 x 4,096 each, in 16 bit
    in_layers = 2 * (6_738_415_616 - 2 * 32_000 * 4_096)
    without_offloading = room(in_cluster(configured(tp_size=tp_size)), (make_node(),))
    plan = in_cluster(offloading(4096, 0, tp_size=tp_size))
    found = room(plan, (make_node(),))
    assert found.memory_bytes - without_offloading.memory_bytes == math.ceil(in_layers / MIB) * MIB
    assert plan_faults(plan, make_scenario(), make_inventory()) == ()
    assert weight_file_bytes(plan) == plan.estimate.memory.weights_bytes * tp_size + in_layers


def test_memory_that_a_machine_does_not_have_is_refused_when_planning_and_when_rendering() -> None:
    small = placed(offloading(0, 20), vcpus=4, memory_gib=16.0)
    (fault,) = plan_faults(small, make_scenario())
    assert str(fault) == (
        "spec.select.pin.kvOffloadGib: a replica offloads 20 GiB to its machine, and only 13 GiB of the"
        " machine's memory belongs to 1 H100 80GB SXM (offload less, or allow machines with more memory)"
    )
    with pytest.raises(UnrenderableError, match="offloads 20 GiB"):
        rendered(small)
    assert plan_faults(placed(offloading(0, 20), vcpus=4, memory_gib=64.0), make_scenario()) == ()
    assert plan_faults(placed(offloading(0, 20)), make_scenario()) == ()  # nobody says what the machine has


def test_one_gpu_shares_no_memory() -> None:
    assert "/dev/shm" not in str(pod_spec(rendered()))  # noqa: S108 - where it would be mounted


def with_weights(weights_bytes: float) -> Plan:
    return make_plan(estimate=make_estimate(memory=replace(make_estimate().memory, weights_bytes=weights_bytes)))


def test_the_start_may_take_as_long_as_the_weights_need() -> None:
    found = timing(with_weights(14e9))
    assert found.startup_s == 140 + 600  # 14 GB at 100 MB/s, and ten minutes
    assert found.startup_failures == 74
    assert timing(with_weights(140e9)).startup_s == 1400 + 600


def test_weights_that_are_quantized_while_loading_are_read_in_16_bit() -> None:
    made = Checkpoint("a/b", "fp8_online", Quantization.FP8, made_while_loading=True)
    plan = configured(model=make_model(params_total=7_000_000_000), checkpoint=made)
    assert weight_file_bytes(plan) == 14e9


def test_every_other_limit_leaves_the_start_its_time() -> None:
    found = rendered(with_weights(140e9))
    server = container(found)
    probe = server["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 2000
    assert int(environment(found)["VLLM_ENGINE_READY_TIMEOUT_S"]) == 2000
    assert found["Deployment"].body["spec"]["progressDeadlineSeconds"] > 2000


@pytest.mark.parametrize(("longest_s", "drain_s"), [(1.0, 30), (29.9, 30), (31.0, 60), (700.0, 1200), (1e9, 3600)])
def test_a_pod_ends_after_its_longest_answer(longest_s: float, drain_s: int) -> None:
    base = latency(longest_s / 1.5)
    assert base.p99.high == pytest.approx(longest_s)
    plan = make_plan(estimate=make_estimate(e2e=base))
    assert timing(plan).drain_s == drain_s
    pod = pod_spec(rendered(plan))
    assert pod["terminationGracePeriodSeconds"] == 15 + drain_s + 15
    assert pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "15"]
    assert f"--shutdown-timeout={drain_s}" in pod["containers"][0]["args"]


def test_a_prediction_that_moves_a_little_replaces_no_pod() -> None:
    plans = [make_plan(estimate=make_estimate(e2e=latency(seconds))) for seconds in (2.0, 2.1)]
    assert pod_spec(rendered(plans[0])) == pod_spec(rendered(plans[1]))


def test_files_hold_what_stays_off_the_gpus_too() -> None:
    plan = with_weights(14e9)
    engine = plan.configuration.engine
    off = configured(plan, engine=replace(engine, cpu_offload_bytes=2 * GIB))
    assert weight_file_bytes(off) - weight_file_bytes(plan) == 2 * GIB
    seeing = configured(plan, model=make_model(vision_params=400_000_000))
    assert weight_file_bytes(seeing) - weight_file_bytes(plan) == 800_000_000
