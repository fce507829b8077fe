"""Nothing that tests start outlives them, and nothing but their own cluster is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.caches import HALF_BUILT
from tests.controlplane.binaries import cache_folder, locate
from tests.controlplane.cluster import ForeignClusterError, refuse_foreign
from tests.controlplane.parts import HELM, KIND, KUBECTL, KUBERNETES, KWOK
from tests.controlplane.processes import ProcessDiedError, stopped_at_the_end

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_ended(pid: int) -> None:
    """Wait for a child's end and leave it to be reaped."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_processes_stop_with_the_block_even_after_a_failure(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail_with_two_running() -> None:
        with stopped_at_the_end(tmp_path) as processes:
            processes.start("one", SLEEP)
            processes.start("two", SLEEP)
            pids.extend(processes.pids.values())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_with_two_running()
    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def test_a_process_that_ignores_being_asked_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    )
    with stopped_at_the_end(tmp_path, grace_s=0.2) as processes:
        processes.start("stubborn", [sys.executable, "-c", stubborn])
        while "on" not in processes.log("stubborn").read_text(encoding="utf-8"):
            time.sleep(0.02)
        pid = processes.pids["stubborn"]
    assert not is_running(pid)


def test_a_process_that_died_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with stopped_at_the_end(tmp_path) as processes:
        processes.start("short", [sys.executable, "-c", "raise SystemExit('no such flag')"])
        wait_until_ended(processes.pids["short"])
        with pytest.raises(ProcessDiedError, match=r"(?s)short ended with status 1.*no such flag"):
            processes.check()


def test_a_killed_process_can_be_started_again_and_a_running_one_can_hang(tmp_path: Path) -> None:
    count = "import time\nfor n in range(6000): print(n, flush=True); time.sleep(0.01)"
    with stopped_at_the_end(tmp_path, grace_s=0.0) as processes:
        processes.start("counter", [sys.executable, "-c", count])
        first = processes.pids["counter"]
        processes.kill("counter")
        assert not is_running(first)
        processes.restart("counter")
        with processes.paused("counter"):
            os.waitid(os.P_PID, processes.pids["counter"], os.WSTOPPED | os.WNOWAIT)
            size = processes.log("counter").stat().st_size
            time.sleep(0.1)
            assert processes.log("counter").stat().st_size == size
        deadline = time.monotonic() + 10
        while processes.log("counter").stat().st_size == size:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGHUP,
        pytest.param(signal.SIGKILL, marks=pytest.mark.skipif(sys.platform != "linux", reason="no prctl")),
    ],
)
def test_processes_do_not_outlive_the_one_that_started_them(tmp_path: Path, number: signal.Signals) -> None:
    program = f"""
        import sys, time
        from pathlib import Path
        from tests.controlplane.processes import Processes
        processes = Processes(Path({str(tmp_path)!r}))
        processes.start("child", {SLEEP!r})
        print(processes.pids["child"], flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.send_signal(number)
        assert parent.wait(timeout=20) == -number
    wait_until_gone(child)


def kubeconfig(folder: Path, context: str, server: str) -> Path:
    path = folder / "kubeconfig"
    cluster = {"name": "one", "cluster": {"server": server}}
    path.write_text(json.dumps({"current-context": context, "clusters": [cluster]}), encoding="utf-8")
    return path


def test_a_kubeconfig_of_ours_is_let_through(tmp_path: Path) -> None:
    refuse_foreign(kubeconfig(tmp_path, "inferplan-controlplane", "https://127.0.0.1:6443"))
    refuse_foreign(kubeconfig(tmp_path, "kind-inferplan", "https://127.0.0.1:6443"))


@pytest.mark.parametrize(
    ("context", "server"),
    [
        ("production", "https://127.0.0.1:6443"),
        ("inferplan-controlplane", "https://production.example.com"),
        ("", ""),
    ],
)
def test_any_other_cluster_is_refused(tmp_path: Path, context: str, server: str) -> None:
    with pytest.raises(ForeignClusterError, match="is not for tests"):
        refuse_foreign(kubeconfig(tmp_path, context, server))


def test_parts_are_kept_by_what_they_are_made_of() -> None:
    parts = (KUBERNETES, KUBECTL, KWOK, HELM, KIND)
    assert [part.version for part in parts] == ["v1.36.3", "v1.36.3", "v0.8.0", "v3.22.0", "v0.33.0"]
    assert len({part.key for part in parts}) == len(parts)


def test_given_programs_come_before_cached_ones_but_only_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets, cache = tmp_path / "assets", tmp_path / "cache"
    assets.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    monkeypatch.setenv("INFERPLAN_CONTROLPLANE_CACHE", str(cache))
    assert cache_folder() == cache
    assert locate(KUBERNETES) is None

    for name in ("etcd", "kube-apiserver", "kubectl"):  # what envtest brings
        (assets / name).touch(mode=0o755)
    assert locate(KUBECTL) == assets
    assert locate(KUBERNETES) is None

    (cache / f"{HALF_BUILT}x").mkdir(parents=True)
    assert locate(KUBERNETES) is None
    (cache / KUBERNETES.key).mkdir()
    assert locate(KUBERNETES) == cache / KUBERNETES.key

    for name in ("kube-controller-manager", "kube-scheduler"):
        (assets / name).touch(mode=0o755)
    assert locate(KUBERNETES) == assets
