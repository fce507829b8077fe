"""The engine's own Python code on a machine without a GPU: its compiled kernels are stubs, its device is simulated.

Runs in the engine's environment (``environment.py``), never in the project's. Importing this module puts the stubs in
place, so it has to come before anything of vLLM.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Sequence
from typing import Any, ClassVar
from unittest import mock

KERNEL_LIBRARIES = (
    "vllm._C",
    "vllm._C_stable_libtorch",
    "vllm._flashmla_C",
    "vllm._flashmla_extension_C",
    "vllm._moe_C",
    "vllm._moe_C_stable_libtorch",
    "vllm.vllm_flash_attn._vllm_fa2_C",
    "vllm.vllm_flash_attn._vllm_fa3_C",
)
"""Shared objects of the wheel that want a CUDA driver."""
KERNEL_PACKAGES = (
    "cutlass", "deep_gemm", "fastsafetensors", "flashinfer", "humming", "nvtx", "quack", "tilelang", "tokenspeed_mla",
)  # fmt: skip
"""Packages of kernels that the image has and this environment has not."""

os.environ.update(
    CUDA_VISIBLE_DEVICES="",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    VLLM_LOGGING_LEVEL=os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
    VLLM_NO_USAGE_STATS="1",
)


class _Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module of the kernel packages, and makes a stub of it that answers to everything."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] not in KERNEL_PACKAGES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        stub: Any = mock.MagicMock(name=spec.name)
        stub.__spec__, stub.__path__, stub.__name__, stub.__file__ = spec, [], spec.name, "stub"
        stub.__version__ = "99.0"
        made: types.ModuleType = stub
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        del module


sys.meta_path.insert(0, _Stubs())
for _name in KERNEL_LIBRARIES:
    sys.modules[_name] = types.ModuleType(_name)

import vllm.platforms  # noqa: E402 - after the stubs
from vllm.platforms.cuda import CudaPlatformBase  # noqa: E402
from vllm.platforms.interface import DeviceCapability  # noqa: E402


class SimulatedGpu(CudaPlatformBase):  # type: ignore[misc] # no types outside the engine's environment
    """An NVIDIA GPU of any compute capability, memory and name."""

    capability: ClassVar[tuple[int, int]] = (9, 0)
    memory_bytes: ClassVar[int] = 80 << 30
    name: ClassVar[str] = "NVIDIA GPU"

    @classmethod
    def become(cls, *, compute_capability: int, memory_bytes: int, name: str) -> None:
        """Turn into another GPU; the compute capability is times 10."""
        cls.capability, cls.memory_bytes, cls.name = divmod(compute_capability, 10), memory_bytes, f"NVIDIA {name}"

    @classmethod
    def get_device_capability(cls, device_id: int = 0) -> DeviceCapability:
        del device_id
        return DeviceCapability(*cls.capability)

    @classmethod
    def has_device_capability(cls, capability: int | tuple[int, int], device_id: int = 0) -> bool:
        del device_id
        asked = capability if isinstance(capability, tuple) else divmod(capability, 10)
        return cls.capability >= asked

    @classmethod
    def get_device_name(cls, device_id: int = 0) -> str:
        del device_id
        return cls.name

    @classmethod
    def get_device_uuid(cls, device_id: int = 0) -> str:
        return f"GPU-{device_id}"

    @classmethod
    def get_device_total_memory(cls, device_id: int = 0) -> int:
        del device_id
        return cls.memory_bytes

    @classmethod
    def is_fully_connected(cls, device_ids: list[int]) -> bool:
        del device_ids
        return True

    @classmethod
    def device_count(cls) -> int:
        return 64

    @classmethod
    def num_compute_units(cls, device_id: int = 0) -> int:
        del device_id
        return 108

    @classmethod
    def is_integrated_gpu(cls, device_id: int = 0) -> bool:
        del device_id
        return False

    @classmethod
    def get_device_numa_node(cls, device_id: int = 0) -> None:
        del device_id

    @classmethod
    def get_all_device_numa_nodes(cls) -> None:
        return


def _answer(value: object) -> Any:
    return lambda *_args, **_kwargs: value


KERNEL_NAMESPACES = ("_C", "_C_cache_ops", "_moe_C")
"""Where the wheel's own libraries put their kernels, which this environment cannot load."""


def _name_kernels() -> None:
    """Let passes of the compiler name kernels that are not there; none of them is run."""
    import torch._ops

    namespace: Any = torch._ops._OpNamespace
    known = namespace.__getattr__

    def found(self: Any, name: str) -> Any:
        try:
            return known(self, name)
        except AttributeError:
            if self.name in KERNEL_NAMESPACES and not name.startswith("__"):
                return mock.MagicMock(name=name)
            raise

    namespace.__getattr__ = found


def _as_in_the_image() -> None:
    """Say of kernels that they are there, as they are in the image; on which GPUs they run stays the engine's word."""
    vllm.platforms._current_platform = SimulatedGpu()
    import vllm._custom_ops as ops
    from vllm.utils import flashinfer
    from vllm.utils import import_utils as imports

    for name in dir(ops):
        if "supports" in name or name.endswith("_supported"):
            setattr(ops, name, _answer(value=True))
    for name in dir(flashinfer):
        if name.startswith("has_"):
            setattr(flashinfer, name, _answer(value=True))
    _name_kernels()
    for name in ("has_deep_gemm", "has_triton_kernels", "has_tilelang", "has_humming"):
        if hasattr(imports, name):
            setattr(imports, name, _answer(value=True))


_as_in_the_image()


def import_kernels() -> None:
    """Import the modules of the attention kernels, once for all jobs; one of them takes GPU memory while imported."""
    import torch

    empty = torch.empty
    with mock.patch.object(torch, "empty", lambda *sizes, **how: empty(*sizes, **{**how, "device": "meta"})):
        import vllm.v1.attention.backends.flash_attn
        import vllm.v1.attention.backends.flashinfer
        import vllm.v1.attention.backends.mla.cutlass_mla  # noqa: F401
