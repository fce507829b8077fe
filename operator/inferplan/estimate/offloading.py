"""Weights that stay in the machine's memory instead of the GPU's.

References
----------
.. [1] vLLM 0.33.0, ``vllm/model_executor/offloader/uva.py``: parameters of layers are moved until the asked amount is
   reached; embedding and LM head are never moved.
"""

from __future__ import annotations

import numpy as np

from inferplan.domain.deployment import Configuration
from inferplan.estimate.expert_padding import expert_growth, rounding_table
from inferplan.estimate.weights import weight_bytes


def offloaded_weight_bytes(chosen: Configuration) -> float:
    """Weights that one GPU leaves in its machine's memory [bytes]: what was asked for, or all that its layers hold."""
    model, moe = chosen.model, chosen.model.moe
    size = weight_bytes(model, chosen.method)
    growth = 1.0
    if moe is not None:
        rounding = rounding_table([(model, chosen.method)], [chosen.engine], [chosen.gpu])
        (growth,) = expert_growth(
            expert_width=np.array([float(moe.expert_intermediate_size)]),
            hidden=np.array([float(model.hidden_size)]),
            matrices=np.array([float(moe.matrices_per_expert)]),
            tp_size=np.array([float(chosen.tp_size)]),
            rounding={name: column.ravel() for name, column in rounding.items()},
        )
    in_layers = (size.always + size.routed * float(growth)) / chosen.gpus_per_replica
    return min(float(chosen.engine.cpu_offload_bytes), in_layers)
