"""Faults of a scenario that a command came to, told by the flags that its author wrote."""

from __future__ import annotations

import re

from inferplan.api.command_line import WHERE
from inferplan.domain.errors import Fault

_FLAGS = {
    "spec.select.pin.gpusPerReplica": "--tensor-parallel-size",
    "spec.select.pin.replicas": "--data-parallel-size",
    "spec.select.pin.maxNumSeqs": "--max-num-seqs",
    "spec.select.pin.maxModelLen": "--max-model-len",
    "spec.select.pin.maxNumBatchedTokens": "--max-num-batched-tokens",
    "spec.select.pin.gpuMemoryUtilization": "--gpu-memory-utilization",
    "spec.select.pin.kvCacheType": "--kv-cache-dtype",
    "spec.select.pin.execution": "--enforce-eager",
    "spec.select.pin.cpuOffloadGib": "--cpu-offload-gb",
    "spec.select.pin.kvOffloadGib": "--kv-offloading-size",
    "spec.select.pin.speculativeDecoding": "--speculative-config",
    "spec.select.pin.modalities": "--language-model-only",
    "spec.select.pin.quantization": "--quantization",
    "spec.select.pin.gpu": "--gpu",
    "spec.select.pin.model": "model",
    "spec.model.custom.revision": "--revision",
    "spec.model.custom.quantization": "--quantization",
    "spec.model.custom": "model",
    "spec.contextTokens": "--max-model-len",
    "spec.workload": "--max-model-len",
    "metadata.name": "--served-model-name",
}
"""Fields that a command line sets, by the flag that sets them; of nested ones the inner first."""
_PLACE = re.compile(rf"{re.escape(WHERE)}(?::\d+)?: (?P<path>.+)")
_FIELDS = {path.removeprefix("spec.select.pin."): flag for path, flag in _FLAGS.items() if ".pin." in path}
_FIELD = re.compile(
    rf"spec\.select\.pin\.({'|'.join(_FIELDS)})\b|\b({'|'.join(name for name in _FIELDS if not name.islower())})\b"
)


def flags_for_fields(text: str) -> str:
    """Write flags for the fields of a pin that a text names.

    >>> flags_for_fields("pin at most 256, or raise maxNumBatchedTokens")
    'pin at most 256, or raise --max-num-batched-tokens'
    """
    return _FIELD.sub(lambda found: _FIELDS[found[1] or found[2]], text)


def in_flags(fault: Fault) -> Fault:
    """Name the flag where a fault names a field of the scenario, whose lines nobody wrote.

    >>> str(in_flags(Fault("--from-command:20: spec.select.pin.maxNumSeqs", "must be at least 1, not 0")))
    '--from-command: --max-num-seqs: must be at least 1, not 0'
    """
    found = _PLACE.fullmatch(fault.where)
    if found is None:
        return fault
    path = found["path"]
    flag = next((flag for field, flag in _FLAGS.items() if f"{path}.".startswith((f"{field}.", f"{field}["))), path)
    return Fault(f"{WHERE}: {flag}", flags_for_fields(fault.problem), flags_for_fields(fault.fix))
