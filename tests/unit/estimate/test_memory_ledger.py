"""What the engine grants, and what is left of it for the KV cache."""

from __future__ import annotations

import numpy as np
import pytest

from inferplan.catalog.loader import load_catalog
from inferplan.domain.model import AttentionLayers, LayerKind
from inferplan.domain.units import GIB
from inferplan.estimate.kv_cache import kv_layout, padded_layers, sequence_bytes
from inferplan.estimate.memory import (
    activations_bytes,
    context_bytes,
    counts_graphs,
    graph_bytes,
    loads_vision,
    over_pcie,
    overhead_bytes,
    sizes_captured,
)
from inferplan.estimate.weights import parameters, weight_bytes
from tests.builders import make_engine, make_gpu, make_method, make_mixtral, make_model, make_replicas

ONE = np.ones(1)


def test_llama_2_7b_keeps_half_a_mebibyte_per_token() -> None:
    layout = kv_layout(make_model())
    assert layout.full_values_per_token * 2 == 524_288
    assert layout.window_values_per_token == layout.latent_values_per_token == layout.state_bytes == 0


def test_mixtral_has_45_billion_expert_weights_of_which_a_quarter_works() -> None:
    count = parameters(make_mixtral())
    assert count.routed == 32 * 8 * 3 * 4096 * 14336
    assert count.routed_active * 4 == count.routed
    assert count.total == make_mixtral().params_total


def test_quantized_weights_shrink_all_but_the_outer_matrices() -> None:
    wide, small = weight_bytes(make_model(), make_method()), weight_bytes(make_model(), make_method(weight_bits=8.0))
    assert small.always == wide.always / 2
    assert small.embedding == wide.embedding == 32_000 * 4096 * 2
    assert wide.loaded == make_model().params_total * 2


def test_a_hybrid_models_larger_kind_is_padded_to_groups_of_the_smaller() -> None:
    gemma = make_model(
        attention=(
            AttentionLayers(LayerKind.FULL, layers=5, kv_heads=4, key_head_dim=256, value_head_dim=256),
            AttentionLayers(
                LayerKind.SLIDING, 29, kv_heads=4, key_head_dim=256, value_head_dim=256, window_tokens=1024
            ),
        )
    )
    layout = kv_layout(gemma)
    assert layout.full_values_per_token == 5 * 4 * 512
    assert layout.window_values_per_token == 30 * 4 * 512
    assert layout.window_tokens == 1024


@pytest.mark.parametrize(("layers", "group", "padded"), [(30, 5, 30), (31, 5, 35), (12, 12, 12), (7, 0, 7)])
def test_layers_are_padded_to_whole_groups(layers: int, group: int, padded: int) -> None:
    assert padded_layers(layers, group) == padded


def test_a_sequence_takes_whole_blocks_and_a_window_stops_growing() -> None:
    def taken(tokens: float) -> float:
        return float(
            sequence_bytes(
                np.array([tokens]),
                full_bytes_per_token=ONE * 10,
                window_bytes_per_token=ONE * 100,
                window_tokens=ONE * 64,
                state_bytes=ONE * 7,
                block_tokens=ONE * 16,
            )[0]
        )

    assert taken(1) == 16 * 10 + 16 * 100 + 7
    assert taken(17) == 32 * 10 + 32 * 100 + 7
    assert taken(1600) == 1600 * 10 + 80 * 100 + 7


def test_large_vocabularies_cost_activation_memory() -> None:
    small, large = (
        make_replicas([make_gpu()], make_model(vocab_size=vocab, params_total=9_000_000_000))
        for vocab in (32_000, 128_256)
    )
    for limit in (1, 64, 1024):
        more = activations_bytes(large, float(limit)) - activations_bytes(small, float(limit))
        assert more[0] == pytest.approx(14.0 * limit * 96_256)


def test_the_sampler_is_profiled_for_no_more_sequences_than_a_step_has_tokens() -> None:
    table = make_replicas([make_gpu()], make_model())
    budget = float(table.max_num_batched_tokens[0])
    assert activations_bytes(table, 10 * budget) == activations_bytes(table, budget)


def test_graphs_count_from_vllm_0_21_on() -> None:
    assert not counts_graphs(make_engine(version="0.19.1"))
    assert counts_graphs(make_engine(version="0.21.0"))
    assert counts_graphs(make_engine(version="nightly"))


def test_communication_takes_two_gibibytes_over_switches_and_little_over_pcie() -> None:
    def taken(tp: float, *, over_pcie: float = 0.0) -> float:
        return float(context_bytes(tp_size=ONE * tp, over_pcie=over_pcie, is_tgi=ONE * 0)[0]) / GIB

    assert taken(1) == taken(1, over_pcie=1) == pytest.approx(0.46)
    assert taken(2) == pytest.approx(2.11)
    assert taken(4) == pytest.approx(2.21)
    assert taken(2, over_pcie=1) == pytest.approx(0.56)


def test_an_engine_without_graphs_keeps_only_its_context() -> None:
    with_graphs, eager = (make_replicas([make_gpu()], make_model(), eager=eager) for eager in (False, True))
    assert overhead_bytes(eager, 1024.0)[0] / GIB == pytest.approx(0.46)
    assert overhead_bytes(with_graphs, 1024.0)[0] / GIB == pytest.approx(0.46 + 0.65 + 32 * 0.018)


@pytest.mark.parametrize(
    ("sequences", "largest", "sizes"),
    [(1, 512, 2), (2, 512, 3), (16, 512, 7), (64, 512, 19), (256, 512, 51), (1024, 512, 51), (1024, 1024, 83)],
)
def test_graphs_are_captured_up_to_twice_the_running_sequences(sequences: float, largest: float, sizes: float) -> None:
    assert sizes_captured(ONE * sequences, largest)[0] == sizes


def test_few_sequences_need_few_graphs() -> None:
    few, many = (graph_bytes(layers=ONE * 64, sequences=ONE * n)[0] / GIB for n in (2, 1024))
    assert many == pytest.approx(0.65 + 64 * 0.018)
    assert few == pytest.approx(0.65 + 64 * 0.018 * 3 / 51)


@pytest.mark.parametrize(
    ("gpu", "sizes"),
    [("h100-80gb-sxm", [16]), ("a100-80gb-sxm", [16]), ("l4", [2, 16]), ("rtx-3090", [2, 16]), ("rtx-4090", [2, 16])],
)
def test_cards_without_switches_talk_over_pcie(gpu: str, sizes: list[int]) -> None:
    found = load_catalog().gpu(gpu)
    assert found is not None
    tried = np.array([2, 16])
    assert tried[over_pcie(found, tried)].tolist() == sizes


def test_only_vllm_can_leave_vision_towers_out() -> None:
    assert not loads_vision(make_engine())
    assert loads_vision(make_engine(text_only=False))
    assert loads_vision(make_engine(id="tgi"))


def test_tgi_keeps_one_gibibyte_for_itself_whatever_the_parallel_size() -> None:
    for tp_size in (1, 8):
        assert context_bytes(tp_size=tp_size * ONE, over_pcie=0.0, is_tgi=ONE)[0] == 1.0 * GIB
