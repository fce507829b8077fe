"""The roofline of one step, the prompt, and the constants they rest on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inferplan.domain.calibration import Calibration, ErrorRange
from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.estimate import Evidence
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import Dtype, ModelSpec, Quantization, QuantizationMethod
from inferplan.estimate.constants import Constants, Kernel, resolve
from inferplan.estimate.estimator import ReplicaTable, build_replicas
from inferplan.estimate.memory import kv_pool_bytes
from inferplan.estimate.prefill import attention_time, burst_prompt_time, prompt_time
from inferplan.estimate.replica import kernel_of
from inferplan.estimate.roofline import smooth_max, step_model, touched_share
from tests.builders import make_engine, make_gpu, make_method, make_mixtral, make_model, make_replicas, make_t4

ONE = np.ones(1)
PRIOR = Constants()


def one_row(
    model: ModelSpec | None = None,
    gpu: GpuSpec | None = None,
    method: QuantizationMethod | None = None,
    tp: int = 1,
    **constants: float,
) -> ReplicaTable:
    record = make_calibration(constants=tuple(constants.items()))
    nothing = np.zeros(1, dtype=np.int64)
    return build_replicas(
        weights=[(model or make_model(), method or make_method())],
        engines=[make_engine()],
        gpus=[gpu or make_gpu()],
        kv_dtypes=(None,),
        calibrations=[record],
        weight=nothing,
        engine=nothing,
        gpu=nothing,
        kv=nothing,
        tp=np.array([tp]),
        pp=np.array([1]),
    )


def make_calibration(**overrides: Any) -> Calibration:
    return replace(Calibration(id="vllm", engine="vllm", gpu=None, family=None, constants=()), **overrides)


def fp8(**overrides: Any) -> QuantizationMethod:
    return make_method(
        id="fp8",
        quantization=Quantization.FP8,
        weight_bits=8.0,
        compute_dtype=Dtype.FP8,
        native_min_compute_capability=89,
        **overrides,
    )


def test_one_sequence_waits_for_the_weights() -> None:
    table = one_row(weight_mbu=0.5, layer_overhead_s=0.0, step_overhead_s=0.0, sequence_overhead_s=0.0)
    step = step_model(table, 0.0)
    read = (6_738_415_616 - 32_000 * 4096) * 2 / (3.35e12 * 0.5)
    assert step.weights[0] == pytest.approx(read)
    assert step.time(ONE * 0)[0] == pytest.approx(read)


def test_a_large_chunk_waits_for_arithmetic() -> None:
    table = one_row(mfu=0.5, activation_passes=0.0)
    step = step_model(table, 0.0)
    flop = 2 * (6_738_415_616 - 2 * 32_000 * 4096)
    assert step.compute_per_token[0] == pytest.approx(flop / (989e12 * 0.5))
    assert step.time(ONE * 0, 8192.0)[0] == pytest.approx(
        float(smooth_max(step.weights, 8192 * step.compute_per_token)[0] + step.fixed[0] + step.uncaptured[0])
    )


def test_host_time_grows_with_layers_experts_and_sequences() -> None:
    dense, sparse = one_row(tp=2), one_row(make_mixtral(), tp=2)
    assert step_model(dense, 0.0).fixed[0] == pytest.approx(
        PRIOR.step_overhead_s + 32 * (PRIOR.layer_overhead_s + 2 * PRIOR.allreduce_latency_s)
    )
    more = step_model(sparse, 0.0).fixed[0] - step_model(dense, 0.0).fixed[0]
    assert more == pytest.approx(32 * PRIOR.expert_layer_overhead_s)


def test_every_sequence_reads_its_own_context() -> None:
    table = one_row()
    short, long = step_model(table, 1000.0), step_model(table, 3000.0)
    per_token = 524_288 / (3.35e12 * PRIOR.kv_mbu)
    assert long.kv_per_sequence[0] - short.kv_per_sequence[0] == pytest.approx(2000 * per_token)


def test_a_step_reads_the_experts_that_its_tokens_touch() -> None:
    assert touched_share(ONE, ONE * 8, ONE * 2)[0] == pytest.approx(0.25)
    assert touched_share(ONE * 2, ONE * 8, ONE * 2)[0] == pytest.approx(1 - 0.75**2)
    assert touched_share(ONE * 5, ONE * 0, ONE * 0)[0] == 0.0


def test_attention_of_a_prompt_grows_with_its_square_and_with_what_is_cached() -> None:
    table = one_row()
    per_pair = 4 * 32 * 128 * 32 / (989e12 * PRIOR.attention_mfu)
    assert attention_time(table, ONE * 1000, ONE * 0)[0] == pytest.approx(per_pair * 1000 * 500)
    assert attention_time(table, ONE * 1000, ONE * 2000)[0] == pytest.approx(per_pair * 1000 * 2500)


def test_a_prompt_beyond_the_budget_takes_several_steps() -> None:
    table = one_row()
    step = step_model(table, 20_000.0)
    long = prompt_time(table, step, tokens=ONE * 16_384, prefix=ONE * 0, sequences=ONE * 0)
    chunks = 2 * step.time(ONE * 0, 8192.0)[0]
    assert long.alone[0] == pytest.approx(chunks + attention_time(table, ONE * 16_384, ONE * 0)[0])
    assert burst_prompt_time(table, step, tokens=ONE * 16_384, prefix=ONE * 0, sequences=ONE * 0)[0] == pytest.approx(
        long.alone[0]
    )


def test_a_prompt_stretches_the_steps_of_others_by_less_than_its_own_time() -> None:
    table = one_row()
    step = step_model(table, 1000.0)
    prompt = prompt_time(table, step, tokens=ONE * 1000, prefix=ONE * 0, sequences=ONE * 16)
    assert 0 < prompt.others[0] < prompt.alone[0]


@pytest.mark.parametrize(
    ("method", "gpu", "kernel"),
    [
        (make_method(), make_gpu(), Kernel.WIDE),
        (fp8(), make_gpu(), Kernel.EIGHT_BIT),
        (fp8(), make_t4(), Kernel.UNPACKED),
        (make_method(weight_bits=4.16, native_min_compute_capability=None), make_gpu(), Kernel.UNPACKED),
    ],
)
def test_format_and_gpu_decide_the_kernels(method: QuantizationMethod, gpu: GpuSpec, kernel: Kernel) -> None:
    assert kernel_of(method, gpu) is kernel


def test_weights_that_are_unpacked_gain_no_arithmetic() -> None:
    wide, unpacked, native = one_row(gpu=make_t4()), one_row(gpu=make_t4(), method=fp8()), one_row(method=fp8())
    assert unpacked.peak_flops_per_s[0] == wide.peak_flops_per_s[0] == 65e12
    assert native.peak_flops_per_s[0] == 1979e12
    slower = step_model(unpacked, 0.0).compute_per_token[0] / step_model(wide, 0.0).compute_per_token[0]
    assert slower == pytest.approx(PRIOR.weight_only_slowdown)


def test_the_most_specific_record_wins() -> None:
    everywhere = make_calibration(constants=(("mfu", 0.4), ("expert_mbu", 0.5), ("expert_mbu_8bit", 0.7)))
    hopper = make_calibration(id="hopper", family="Hopper", constants=(("mfu", 0.6),), runs=10)
    own = make_calibration(id="h100", gpu="h100-80gb-sxm", constants=(("mfu", 0.7),), runs=5)
    gpu = make_gpu()
    assert resolve([everywhere], "vllm", gpu).constants.mfu == 0.4
    assert resolve([own, everywhere, hopper], "vllm", gpu).constants.mfu == 0.7
    assert resolve([everywhere, hopper], "vllm", gpu).constants.mfu == 0.6
    assert resolve([everywhere], "vllm", gpu).constants.expert_mbu == 0.5
    assert resolve([everywhere], "vllm", gpu, Kernel.EIGHT_BIT).constants.expert_mbu == 0.7
    assert resolve([everywhere], "tgi", gpu).constants == PRIOR


def test_evidence_follows_what_was_measured() -> None:
    hopper = make_calibration(id="hopper", family="Hopper", runs=10)
    own = make_calibration(id="h100", gpu="h100-80gb-sxm", runs=5)
    gpu = make_gpu()
    assert resolve([own, hopper], "vllm", gpu).evidence is Evidence.MEASURED
    assert resolve([hopper], "vllm", gpu).evidence is Evidence.CALIBRATED
    assert resolve([replace(hopper, runs=0)], "vllm", gpu).evidence is Evidence.EXTRAPOLATED
    assert resolve([hopper], "vllm", make_t4()).evidence is Evidence.EXTRAPOLATED


def test_ranges_are_taken_by_load_and_evidence() -> None:
    ranges = (
        ErrorRange("tpot", "*", Evidence.EXTRAPOLATED, 0.7, 1.5),
        ErrorRange("tpot", "open_loop", Evidence.EXTRAPOLATED, 0.8, 1.4),
        ErrorRange("tpot", "open_loop", Evidence.MEASURED, 0.9, 1.1),
    )
    found = resolve([make_calibration(ranges=ranges)], "vllm", make_gpu())
    assert found.factors("tpot", "open_loop") == (0.8, 1.4)
    assert found.factors("tpot", "closed_loop") == (0.7, 1.5)
    assert found.factors("ttft", "closed_loop") == (0.45, 2.2)


def test_ranges_of_an_earlier_generation_take_the_place_of_the_others() -> None:
    both = (
        ErrorRange("tpot", "*", Evidence.EXTRAPOLATED, 0.8, 1.2),
        ErrorRange("tpot", "*", Evidence.EXTRAPOLATED, 0.5, 2.0, before="0.14"),
    )
    record = Calibration("own", "vllm", None, None, (), ranges=both)
    found = {
        r: resolve([record], "vllm", make_gpu(), release=r).factors("tpot", "offline") for r in ((0, 13), (0, 14), None)
    }
    assert found == {(0, 13): (0.5, 2.0), (0, 14): (0.8, 1.2), None: (0.8, 1.2)}


NGRAM = SpeculativeDecoding(SpeculativeMethod.NGRAM, tokens=3, acceptance=0.7)


def drafting(speculative: SpeculativeDecoding | None, **engine: Any) -> ReplicaTable:
    return make_replicas([make_gpu()], make_model(), speculative=speculative, **engine)


def test_few_sequences_gain_what_drafting_promises() -> None:
    plain, drafted = (step_model(drafting(wish), 512.0).per_token(np.ones(1))[0] for wish in (None, NGRAM))
    assert plain / drafted == pytest.approx(1 + 0.7 + 0.49 + 0.343, rel=0.05)


def test_many_sequences_pay_for_the_arithmetic_of_drafts_that_are_not_kept() -> None:
    many = np.full(1, 2_000.0)
    poor = replace(NGRAM, acceptance=0.1)
    plain, drafted = (step_model(drafting(wish), 512.0).per_token(many)[0] for wish in (None, poor))
    assert drafted > plain


def test_a_draft_model_takes_memory_and_time_for_each_drafted_token() -> None:
    small = make_model(
        id="small", layers=4, params_total=600_000_000, attention=(replace(make_model().attention[0], layers=4),)
    )
    wish = SpeculativeDecoding(SpeculativeMethod.DRAFT_MODEL, tokens=3, acceptance=0.7, draft=small)
    plain, ngram, drafted = (drafting(speculative) for speculative in (None, NGRAM, wish))
    assert drafted.weights_bytes[0] - plain.weights_bytes[0] == pytest.approx(600e6 * 2, rel=0.01)
    assert drafted.kv_full_bytes_per_token[0] - plain.kv_full_bytes_per_token[0] == 4 * 32 * 256 * 2
    assert ngram.weights_bytes[0] == plain.weights_bytes[0]
    extra = step_model(drafted, 512.0).time(np.ones(1))[0] - step_model(ngram, 512.0).time(np.ones(1))[0]
    read = 3 * (600e6 - 32_000 * 4096) * 2 / (drafted.bandwidth_bytes_per_s[0] * drafted.constant("weight_mbu")[0])
    assert extra >= read


def test_offloaded_weights_leave_room_and_are_read_over_the_host_link_in_every_step() -> None:
    plain, offloaded = drafting(None), drafting(None, cpu_offload_bytes=4 * 2**30)
    assert plain.weights_bytes[0] - offloaded.weights_bytes[0] == 4 * 2**30
    assert kv_pool_bytes(offloaded, 1.0)[0] - kv_pool_bytes(plain, 1.0)[0] == pytest.approx(4 * 2**30, rel=0.01)
    slower = step_model(offloaded, 512.0).time(np.ones(1))[0] - step_model(plain, 512.0).time(np.ones(1))[0]
    assert slower >= 4 * 2**30 / (make_gpu().pcie_bandwidth_bytes_per_s / 2) * 0.99


def test_no_more_is_offloaded_than_the_layers_weigh() -> None:
    table = drafting(None, cpu_offload_bytes=10**12)
    assert 0 < table.weights_bytes[0] < 4 * 32_000 * 4096 * 2
