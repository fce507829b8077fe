"""How an engine cuts its pool into blocks, and what it says that the pool holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferplan.catalog.loader import load_catalog
from inferplan.domain.model import Dtype
from inferplan.domain.units import GIB
from inferplan.estimate.kv_cache import blocks_admitted, cut_blocks, group_layers
from inferplan.estimate.memory import (
    kv_pool_bytes,
    kv_pool_tokens,
    least_pool_bytes,
    left_bytes,
    logs_by_length,
    sequence_bytes_of,
)
from inferplan.estimate.replica import ReplicaTable, build_replicas

CATALOG = load_catalog()
ZERO, ONE = np.zeros(1, dtype=np.int64), np.ones(1)


def replica(model: str, gpu: str, *, tp: int = 1, kv: Dtype | None = None) -> ReplicaTable:
    found, device, engine, method = CATALOG.model(model), CATALOG.gpu(gpu), CATALOG.engine("vllm"), None
    assert found is not None
    assert device is not None
    assert engine is not None
    method = CATALOG.method(found.checkpoints[0].method)
    assert method is not None
    return build_replicas(
        weights=[(found, method)],
        engines=[engine],
        gpus=[device],
        kv_dtypes=(kv,),
        calibrations=CATALOG.calibrations,
        weight=ZERO,
        engine=ZERO,
        gpu=ZERO,
        kv=ZERO,
        tp=np.array([tp]),
        pp=np.array([1]),
    )


SEQUENCES = 64.0


def with_pool(table: ReplicaTable, gib: float) -> ReplicaTable:
    """The same replica with a KV pool of that size on each GPU."""
    return replace(table, granted_bytes=table.granted_bytes - left_bytes(table, SEQUENCES) + gib * GIB)


@pytest.mark.parametrize(
    ("counts", "layers"), [((32, 0, 0), 32), ((5, 29, 0), 5), ((12, 13, 0), 13), ((16, 0, 48), 16), ((10, 50, 0), 10)]
)
def test_groups_are_as_large_as_the_smallest_kind_unless_kinds_are_alike(counts: tuple[int, ...], layers: int) -> None:
    assert group_layers(counts) == layers


def test_blocks_are_as_long_as_the_state_of_a_linear_layer_is_large() -> None:
    """Qwen3.6 27B: vLLM sets 784 tokens for a 16-bit cache, 1568 for FP8 (vllm-project/recipes#831)."""
    assert replica("Qwen/Qwen3.6-27B", "h200-141gb-sxm").kv_block_tokens[0] == 784
    assert replica("Qwen/Qwen3.6-27B", "h200-141gb-sxm", kv=Dtype.FP8).kv_block_tokens[0] == 1568


def test_a_sequence_of_a_linear_model_keeps_two_states_of_every_group_in_whole_blocks() -> None:
    table = replica("Qwen/Qwen3.6-27B", "h200-141gb-sxm")
    block = 784 * 16 * 4096
    assert table.kv_block_bytes[0] == block
    assert sequence_bytes_of(table, 1.0)[0] == (1 + 2 * 3) * block


def test_a_kind_that_keeps_less_per_token_gets_more_tokens_into_a_block() -> None:
    """gemma 4 31B: 10 full layers of 8192 bytes per token, 50 sliding ones of 16,384 bytes."""
    table = replica("google/gemma-4-31B-it", "a100-80gb-sxm")
    assert (table.kv_block_tokens[0], table.kv_window_block_tokens[0]) == (32, 16)
    assert (table.kv_full_groups[0], table.kv_window_groups[0]) == (1, 5)
    assert table.kv_block_bytes[0] == 16 * 10 * 16_384


def test_a_width_that_does_not_divide_the_block_is_padded() -> None:
    blocks = cut_blocks(
        full_bytes_per_token=ONE * 300,
        window_bytes_per_token=ONE * 1000,
        state_bytes=ONE * 0,
        full_groups=ONE,
        window_groups=ONE,
        state_groups=ONE * 0,
        block_tokens=ONE * 16,
    )
    assert (blocks.bytes[0], blocks.full_tokens[0], blocks.window_tokens[0]) == (16_000, 16, 16)


@pytest.mark.parametrize(("chunked", "blocks"), [(0.0, 1 * 640 + 3 * (320 + 1)), (1.0, 1 * 640 + 3 * 320)])
def test_windows_are_admitted_with_the_tokens_in_flight(chunked: float, blocks: float) -> None:
    found = blocks_admitted(
        ONE * 10_240,
        in_flight_tokens=ONE * 4096,
        full_groups=ONE,
        window_groups=ONE * 3,
        state_groups=ONE * 0,
        full_block_tokens=ONE * 16,
        window_block_tokens=ONE * 16,
        window_tokens=ONE * 1024,
        chunked=ONE * chunked,
    )
    assert found[0] == blocks


def test_a_window_longer_than_the_sequence_holds_the_sequence() -> None:
    table = replica("google/gemma-4-31B-it", "a100-80gb-sxm")
    short = least_pool_bytes(table, 512.0)[0] / table.kv_block_bytes[0]
    assert short == 512 / 32 + 5 * (512 / 16 + 1) + 1


@pytest.mark.parametrize(("version", "tokens", "length"), [("0.20.2", 55_000, 262_144), ("0.21.0", 525_000, 262_144)])
def test_gemma_4_logs_ten_times_the_tokens_from_0_21_on(version: str, tokens: int, length: int) -> None:
    """One pool, two releases (vllm-project/vllm#43308, A100 80 GB); the pool is known to a few per cent only."""
    table = with_pool(replica("google/gemma-4-31B-it", "a100-80gb-sxm"), 48.5)
    found = kv_pool_tokens(table, length, SEQUENCES, by_length=logs_by_length(version))[0]
    assert found == pytest.approx(tokens, rel=0.06)


def test_models_that_keep_all_tokens_are_logged_alike_by_both() -> None:
    table = replica("meta-llama/Llama-3.1-8B-Instruct", "h100-80gb-sxm")
    before, now = (kv_pool_tokens(table, 131_072, SEQUENCES, by_length=by)[0] for by in (False, True))
    assert before == now == kv_pool_bytes(table, SEQUENCES)[0] / 131_072


def test_a_linear_model_is_said_to_hold_more_tokens_the_longer_the_length() -> None:
    table = with_pool(replica("Qwen/Qwen3.6-27B", "rtx-3090", tp=2, kv=Dtype.FP8), 4.99)
    short, long = (kv_pool_tokens(table, length, SEQUENCES)[0] for length in (8192, 262_144))
    assert short < long
    # logged for a pool of 4.99 GiB on each of two RTX 3090s (mitchross/talos-argocd-proxmox#1995)
    assert long == pytest.approx(302_921, rel=0.05)


def test_the_engine_starts_with_one_sequence_and_a_spare_block() -> None:
    table = replica("meta-llama/Llama-3.1-8B-Instruct", "h100-80gb-sxm")
    assert least_pool_bytes(table, 16_384)[0] == (1024 + 1) * 16 * 131_072


@pytest.mark.parametrize(
    ("model", "gpu", "kv", "per_token"),
    [
        ("deepseek-ai/DeepSeek-V3.2", "rtx-pro-6000", Dtype.FP8, 61 * (656 + 132)),
        ("deepseek-ai/DeepSeek-V3.2", "h200-141gb-sxm", Dtype.FP8, 61 * (656 + 132)),
        ("deepseek-ai/DeepSeek-V3.2", "h200-141gb-sxm", None, 61 * (576 * 2 + 132)),
        ("deepseek-ai/DeepSeek-V3.2", "b200", Dtype.FP8, 61 * (576 + 132)),
        ("zai-org/GLM-5.2", "b200", None, 78 * 576 * 2 + 21 * 132),
        ("deepseek-ai/DeepSeek-V3", "h200-141gb-sxm", Dtype.FP8, 61 * 576),
    ],
)
def test_sparse_attention_keeps_its_kernels_own_layout_and_its_indexers(
    model: str, gpu: str, kv: Dtype | None, per_token: int
) -> None:
    """vLLM 0.33.0: ``fp8_ds_mla`` on 9.0 and 12.x, an indexer cache of 8 bits whatever the type (deepseek_v2.py)."""
    assert replica(model, gpu, kv=kv).kv_full_bytes_per_token[0] == per_token
