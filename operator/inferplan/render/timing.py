"""How long things take in a pod: until the engine answers, and until its last answer is out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inferplan.domain.model import DTYPE_BYTES, Dtype
from inferplan.domain.plan import Plan
from inferplan.estimate.offloading import offloaded_weight_bytes

ASSUMED_LOAD_BYTES_PER_S = 100e6
"""Weights fetched and loaded, the careful end: a node with 1 Gbit/s of its own, or a slow network volume."""
ASSUMED_PREPARATION_S = 600
"""Start of the engine without its weights: compilation, graph capture, profiling. Ten minutes is what vLLM's
production-stack and KServe grant for everything with small and middle models (startup probes of 60 x 10 s)."""
ASSUMED_PULL_S = 900
"""Image pull and scheduling before the container starts: about 10 GB at the bandwidth above, and a new node."""

PROBE_PERIOD_S = 10
ENDPOINT_REMOVAL_S = 15
"""Pause before the engine is told to stop, so that no proxy still sends to it (KServe waits as long)."""
DRAINS_S = (30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Steps, so that a prediction which moves a little does not replace pods. A pod that cannot be got rid of within an
hour would block every upgrade of its node."""
KILL_MARGIN_S = 15


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of one pod [s].

    Parameters
    ----------
    startup_s
        From the start of the container to the first good answer, at most.
    drain_s
        Running requests may take this long after the engine is told to stop.
    """

    startup_s: int
    drain_s: int

    @property
    def startup_failures(self) -> int:
        """Failed probes that the start may take."""
        return math.ceil(self.startup_s / PROBE_PERIOD_S)

    @property
    def termination_s(self) -> int:
        """Grace period of the pod: the pause, the drain, and a margin before it is killed."""
        return ENDPOINT_REMOVAL_S + self.drain_s + KILL_MARGIN_S

    @property
    def progress_deadline_s(self) -> int:
        """A rollout is not called failed before its pods could have started."""
        return self.startup_s + ASSUMED_PULL_S


def timing(plan: Plan) -> Timing:
    """Work out how long a pod of a plan takes to start and to end.

    Notes
    -----
    ``startup = weight bytes / ASSUMED_LOAD_BYTES_PER_S + ASSUMED_PREPARATION_S``; the drain is the first step that
    holds the P99 of the request latency at the careful end of its range.
    """
    longest_s = plan.estimate.e2e.p99.high
    return Timing(
        startup_s=math.ceil(weight_file_bytes(plan) / ASSUMED_LOAD_BYTES_PER_S) + ASSUMED_PREPARATION_S,
        drain_s=next((step for step in DRAINS_S if step >= longest_s), DRAINS_S[-1]),
    )


def weight_file_bytes(plan: Plan) -> float:
    """Bytes of weight files that one replica fetches.

    Notes
    -----
    What is quantized while loading is read in 16 bit. Weights that stay in the machine's memory, and vision towers that
    are left out, lie in the files as well.
    """
    chosen = plan.configuration
    vision = chosen.model.vision_params * DTYPE_BYTES[Dtype.BFLOAT16]
    if chosen.checkpoint.made_while_loading:
        return chosen.model.text_params * DTYPE_BYTES[Dtype.BFLOAT16] + vision
    loaded = plan.estimate.memory.weights_bytes + offloaded_weight_bytes(chosen)
    return loaded * chosen.gpus_per_replica + (vision if chosen.engine.text_only else 0.0)
