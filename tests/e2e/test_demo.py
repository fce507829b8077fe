"""The demo as somebody runs it who has just cloned the project: to its end, stopped half-way, kept, and without Go."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane.api import Api, eventually
from tests.controlplane.binaries import CACHE_VARIABLE, locate_or_build

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "examples.demo"]
ESCAPE = "\033"


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    """Have the control plane built before any clock runs."""
    locate_or_build(print)


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), **changes}


def leftovers(folder: Path) -> list[str]:
    """Name what still runs of a demo whose temporary files were in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(str(folder) in word for word in words):
            found.append(" ".join(words))
    return found


def run(folder: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *words],
        cwd=ROOT,
        env=environment(folder, **changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


def test_it_shows_everything_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    shown = done.stdout
    assert ESCAPE not in shown
    acts = [
        "$ inferplan plan",
        "$ inferplan compare",
        "$ kubectl get nodes",
        "$ helm install inferplan",
        "$ kubectl apply",
        "$ kubectl get isc -o wide",
        "$ kubectl get pods",
        "$ kubectl wait job/tonight",
        "$ kubectl get isc infeasible",
        "$ kubectl delete deployment",
    ]
    places = [shown.index(act) for act in acts]
    assert places == sorted(places)
    assert re.search(r"^chatbot-\S+ +1/1 +Running .* gpu-\S+ ", shown, re.MULTILINE)
    assert re.search(r"^tonight-\S+ +0/1 +Completed .* gpu-\S+ ", shown, re.MULTILINE)
    assert re.search(r"^NoFeasiblePlan: \w+: .*; feasible with ", shown, re.MULTILINE)
    assert re.search(r"0 refused; it holds \d+ MiB", shown)
    assert leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the demo and hand it over once the control plane is up."""
    with subprocess.Popen(
        DEMO,
        cwd=ROOT,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            if "kubectl get nodes" in line:
                break
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_stopped_half_way_it_leaves_nothing_behind(
    started: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    assert leftovers(tmp_path)
    started.send_signal(number)
    rest, _ = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in rest
    assert leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_when_nobody_listens_any_more_it_ends_quietly(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        listener = subprocess.Popen(["head", "-n", "300"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        ended = subprocess.run(
            DEMO, cwd=ROOT, env=environment(tmp_path), stdout=listener.stdin, stderr=file, check=False, timeout=300
        )
    listener.communicate()
    assert ended.returncode == 130
    assert "Traceback" not in errors.read_text()
    errors.unlink()
    assert leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_kept_it_says_how_to_talk_to_it_and_how_to_end_it(tmp_path: Path) -> None:
    done = run(tmp_path, "--keep")
    assert done.returncode == 0, done.stdout
    (kubeconfig,) = re.findall(r"export KUBECONFIG=(\S+)", done.stdout)
    (pid,) = re.findall(r"^ *kill (\d+)$", done.stdout, re.MULTILINE)
    try:
        scenarios = Api.of(Path(kubeconfig)).list("inferplan.dev/v1alpha1", "InferenceScenario", "default")
        assert {scenario["metadata"]["name"] for scenario in scenarios} >= {"chatbot", "infeasible"}
    finally:
        os.kill(int(pid), signal.SIGTERM)
    eventually(lambda: leftovers(tmp_path) == [], "everything has ended")
    eventually(lambda: list(tmp_path.iterdir()) == [], "nothing is left behind")


def test_without_a_control_plane_it_plans_offline_and_says_why_the_rest_is_missing(tmp_path: Path) -> None:
    started = time.monotonic()
    nothing = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}
    done = run(tmp_path, **{CACHE_VARIABLE: str(tmp_path / "cache"), "PIP_FIND_LINKS": "", **nothing})
    assert done.returncode == 1
    offline, _, rest = done.stdout.partition("A real control plane")
    assert "Recommended" in offline
    assert "cannot be installed" in rest
    assert "was left out" in rest
    assert "Traceback" not in done.stdout
    assert time.monotonic() - started < 60
