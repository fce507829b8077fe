"""Build a control plane, or run one by hand: ``python -m tests.controlplane build|up|where``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from tests.controlplane import nodes
from tests.controlplane.binaries import cache_folder, locate_or_build
from tests.controlplane.choice import RUNNING_VARIABLE, start_cluster
from tests.controlplane.toolchain import BuildError

MIB = 2**20


def say(line: str) -> None:
    """Print a line at once, on the error output: what is asked for alone goes to the other."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def up(*, with_nodes: bool) -> None:
    """Start a cluster, say how to talk to it, and stop it at Ctrl-C."""
    with start_cluster(say) as cluster:
        if with_nodes:
            nodes.apply(cluster.api, nodes.demo_pools())
        memory_mib = sum(cluster.processes.memory_bytes().values()) // MIB
        say(f"up after {cluster.started_in_s:.1f} s, {memory_mib} MiB; talk to it with")
        say(f"  export KUBECONFIG={cluster.kubeconfig} {RUNNING_VARIABLE}={cluster.kubeconfig}")
        say(f"  {cluster.binaries['kubectl']} get nodes")
        say(f"audit log: {cluster.folder / 'audit' / 'audit.log'}")
        say("Ctrl-C stops it")
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: stop.set())
        while not stop.wait(1.0):
            cluster.processes.check()
        say("stopping")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build what is missing; minutes the first time, nothing after that")
    commands.add_parser("where", help="print the folder that holds what is built")
    starting = commands.add_parser("up", help="start a cluster and run it until Ctrl-C")
    starting.add_argument("--no-nodes", action="store_true", help="leave it without nodes")
    arguments = parser.parse_args()
    try:
        if arguments.command == "where":
            print(cache_folder())  # noqa: T201
        elif arguments.command == "build":
            binaries = locate_or_build(say)
            say("built" if binaries.built else "nothing to build")
        else:
            up(with_nodes=not arguments.no_nodes)
    except (BuildError, KeyboardInterrupt) as error:
        say(str(error) or "interrupted")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
