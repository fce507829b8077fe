"""Which kernels multiply the weights of a format on a GPU."""

from __future__ import annotations

import pytest

from inferplan.catalog import load_catalog
from inferplan.estimate.constants import Kernel
from inferplan.estimate.replica import kernel_of

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("method", "gpu", "kernel"),
    [
        ("bf16", "h100-80gb-sxm", Kernel.WIDE),
        ("fp8", "h100-80gb-sxm", Kernel.EIGHT_BIT),
        ("fp8", "a100-80gb-sxm", Kernel.UNPACKED),
        ("int8_w8a8", "a100-80gb-sxm", Kernel.EIGHT_BIT),
        ("awq", "h100-80gb-sxm", Kernel.UNPACKED),
        ("nvfp4", "b200", Kernel.FOUR_BIT),
        ("nvfp4", "h100-80gb-sxm", Kernel.UNPACKED),
        ("fp8", "mi300x", Kernel.EIGHT_BIT),
        ("nvfp4", "mi300x", Kernel.UNPACKED),
        ("nvfp4", "mi355x", Kernel.FOUR_BIT),
        ("fp8", "mi250x", Kernel.UNPACKED),
    ],
)
def test_weights_are_multiplied_natively_where_the_gpu_can(method: str, gpu: str, kernel: Kernel) -> None:
    format_, device = CATALOG.method(method), CATALOG.gpu(gpu)
    assert format_ is not None
    assert device is not None
    assert kernel_of(format_, device) is kernel
