"""The heap gives back what is free in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import inferplan

SCATTER = """
import os
from inferplan.kube import heap

def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

heap.keep_small()
blocks = [bytes(60_000) for _ in range(1000)]
del blocks[:-1]  # the last one keeps what is below it from going by itself
before = resident_bytes()
heap.give_back()
print(before - resident_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_what_is_free_below_what_is_in_use_goes_back_to_the_system() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(inferplan.__file__).parents[1])}
    answer = subprocess.run(
        [sys.executable, "-c", SCATTER], env=environment, capture_output=True, text=True, check=True
    )
    assert int(answer.stdout) > 40_000_000
