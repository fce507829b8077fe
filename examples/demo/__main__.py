"""``python -m examples.demo [--keep]``: plan offline, then the same on a real control plane; see the package.

Ends with 0 if everything was shown, 1 if something failed or had to be left out, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType

from examples.demo.narration import Narrator
from examples.demo.show import ROOT, Show, offline
from tests.controlplane.api import ApiError
from tests.controlplane.choice import start_cluster
from tests.controlplane.cluster import Cluster, ForeignClusterError
from tests.controlplane.processes import ProcessDiedError
from tests.controlplane.toolchain import BuildError

DONE, FAILED, INTERRUPTED = 0, 1, 130
FAILURES = (ApiError, ForeignClusterError, OSError, ProcessDiedError, subprocess.CalledProcessError, TimeoutError)

Hold = Callable[[Cluster], None]


def perform(tell: Narrator, hold: Hold | None = None) -> int:
    """Show everything and return the exit status; nothing runs any more by then.

    Parameters
    ----------
    hold
        Called at the end, while everything still runs.
    """
    try:
        offline(tell)
        tell.heading("A real control plane")
        try:
            cluster = start_cluster(tell.progress)
        except BuildError as error:
            tell.failure(f"{error}\n")
            tell.failure("There is no control plane to be had here, for the reason above, and none was built before.")
            tell.failure("The plans above are complete; what follows in a cluster was left out.")
            return FAILED
        with cluster:
            version = cluster.api.request("GET", "/version")["gitVersion"]
            tell.progress(f"Kubernetes {version} answers; it took {cluster.started_in_s:.1f} s to start")
            try:
                _show(Show(cluster, tell))
                if hold is not None:
                    hold(cluster)
            except KeyboardInterrupt:
                # inside the block, so that an interrupted demo leaves no logs behind
                return _interrupted(tell)
        tell.say("\nEverything is stopped. `make demo KEEP=1` leaves it running.")
    except KeyboardInterrupt:
        return _interrupted(tell)
    except FAILURES as error:
        printed = getattr(error, "output", None) or ""
        tell.failure(f"\nThe demo failed: {error}\n{printed}")
        return FAILED
    return DONE


def _show(show: Show) -> None:
    show.hardware()
    operator = show.installation()
    show.scenarios()
    show.results()
    show.batch()
    show.refusal()
    show.repair()
    show.ledger(operator)


def _interrupted(tell: Narrator) -> int:
    tell.failure("\nInterrupted; stopping everything.")
    return INTERRUPTED


# ── leaving it running ───────────────────────────────────────────────────────────────────────────────────────


def perform_and_leave_running() -> int:
    """Have a process of its own show everything, and return when it has; it and the cluster stay."""
    done, done_there = os.pipe()
    command = [sys.executable, "-m", "examples.demo", f"--hold={done_there}"]
    process = subprocess.Popen(  # noqa: S603 - ourselves
        command, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[done_there]
    )
    os.close(done_there)
    try:
        if os.read(done, 1):
            return DONE
        return process.wait() or FAILED
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return INTERRUPTED


def holder(tell: Narrator, done: int) -> Hold:
    """Return what keeps the cluster running until this process is asked to end."""

    def hold(cluster: Cluster) -> None:
        folders = dict.fromkeys(str(cluster.binaries[program].parent) for program in ("kubectl", "helm"))
        tell.heading("It is still running")
        tell.say(f"  export KUBECONFIG={cluster.kubeconfig}")
        tell.say(f"  export PATH={':'.join(folders)}:$PATH")
        tell.say("  kubectl get isc -o wide")
        tell.say("  kubectl apply -f examples/pinned-scenario.yaml")
        tell.say(f"  less {cluster.processes.log('operator')}")
        tell.say(f"\nStop it all with\n  kill {os.getpid()}")
        log = os.open(cluster.folder / "demo.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(log, sys.stdout.fileno())
        os.dup2(log, sys.stderr.fileno())
        os.write(done, b".")
        os.close(done)
        waiting = threading.Event()
        while not waiting.wait(1.0):  # ended by the signal
            cluster.processes.check()

    return hold


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster running, and say how to talk to it")
    parser.add_argument("--hold", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    if arguments.keep:
        return perform_and_leave_running()
    tell = Narrator()
    try:
        return perform(tell, None if arguments.hold is None else holder(tell, arguments.hold))
    except KeyboardInterrupt:
        return INTERRUPTED  # a second time, or nobody listens to what has failed


if __name__ == "__main__":
    sys.exit(main())
