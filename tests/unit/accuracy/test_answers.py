"""From a row to its prediction, its skip reason, and its score, each worked out by hand where that is possible."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferplan.accuracy.matching import Case, Matcher
from inferplan.accuracy.outcome import RANGED, Answer, Metric, Value, answer
from inferplan.accuracy.predict import predict_cases
from inferplan.accuracy.rows import COLUMNS, write_rows
from inferplan.accuracy.runs import Run, read_table
from inferplan.accuracy.score import score, score_metric
from inferplan.catalog import load_catalog, load_yardsticks
from inferplan.domain.model import Dtype
from tests.unit.accuracy.tables import make_row, make_table

CATALOG = load_catalog()
MATCHER = Matcher(CATALOG, load_yardsticks())


def case_of(**cells: str) -> Case:
    found = MATCHER.case(make_row(**cells))
    assert isinstance(found, Case), found
    return found


def answered(*rows: Run) -> tuple[Answer, ...]:
    return answer(rows, MATCHER, CATALOG.calibrations)


def value_of(metric: Metric, **cells: str) -> float:
    value = answered(make_row(**cells))[0].value(metric)
    assert value is not None
    return value.expected


# ── what a row leaves open ───────────────────────────────────────────────────────────────────────────────


def test_real_lengths_are_those_that_the_row_says() -> None:
    nominal = case_of(length_fixed="yes").settings
    shorter = case_of(length_fixed="no: uniform 80-100% of nominal (mean about 0.9x)").settings
    in_words = case_of(input_tokens="", output_tokens="", length_fixed="yes (512 in, 128 out)").settings
    assert (nominal.prompt_tokens, nominal.output_tokens, nominal.tail) == (1024.0, 256.0, 1.0)
    assert shorter.prompt_tokens == pytest.approx(0.9 * 1024)
    assert shorter.output_tokens == pytest.approx(0.9 * 256)
    assert shorter.tail == pytest.approx(0.99 / 0.9)
    assert (in_words.prompt_tokens, in_words.output_tokens) == (512.0, 128.0)


def test_a_silent_row_takes_the_lengths_of_its_data_set_and_says_so() -> None:
    found = case_of(input_tokens="", output_tokens="", dataset="ShareGPT", length_fixed="no")
    assert (found.settings.prompt_tokens, found.settings.output_tokens) == (220.0, 200.0)
    assert any("prompts of 220 tokens" in words for words in found.assumed)


@pytest.mark.parametrize(
    ("cells", "sequences", "tokens", "share"),
    [
        ({"engine_version": "0.19.0"}, 1024, 8192, 0.90),
        ({"engine_version": "0.33.0"}, 1024, 8192, 0.92),
        ({"engine_version": "0.33.0", "gpu": "B200-180GB-SXM"}, 1024, 16384, 0.92),
        ({"engine_version": "0.19.0", "gpu": "A100-80GB-SXM"}, 256, 2048, 0.90),
        ({"engine_version": "0.19.0", "gpu": "L4-24GB"}, 256, 2048, 0.90),
        ({"engine_version": "0.5.4"}, 256, 4096, 0.90),
        ({"notes": "max_num_seqs 64, max_num_batched_tokens 512; gpu_memory_utilization 0.95"}, 64, 512, 0.95),
        (
            {"engine_version": "0.5.4", "load_value": "768", "notes": "limited by max batch size (load value)"},
            768,
            4096,
            0.90,
        ),
        ({"load_value": "64", "notes": "concurrency bounded by max_num_seqs (load value)"}, 64, 8192, 0.90),
        ({"engine_version": "0.5.4", "load_value": "768", "running_batch_mean": "750.5"}, 750.5, 4096, 0.90),
        ({"engine_version": "0.5.4", "running_batch_mean": "15.8"}, 256, 4096, 0.90),
    ],
)
def test_limits_are_stated_or_what_ran_or_the_defaults_of_release_and_gpu(
    cells: dict[str, str], sequences: int, tokens: int, share: float
) -> None:
    found = case_of(**cells).settings
    assert (found.max_num_seqs, found.max_num_batched_tokens, found.memory_fraction) == (sequences, tokens, share)


def test_recurring_prompts_are_cached_but_for_their_last_block_and_distinct_ones_are_not() -> None:
    recurring = "synthetic shared-prefix (100 recurring prompts)"
    assert case_of(prefix_caching="on", dataset=recurring, input_tokens="203").settings.cached_tokens == 192
    assert case_of(prefix_caching="off", dataset=recurring).settings.cached_tokens == 0
    assert case_of(prefix_caching="on, distinct prompts", dataset=recurring).settings.cached_tokens == 0


@pytest.mark.parametrize(
    ("cells", "layout"),
    [
        ({"gpu_count": "8", "tp": "2"}, (2, 1, 4)),
        ({"gpu_count": "8", "tp": "4", "pp": "2"}, (4, 2, 1)),
        ({"gpu_count": "", "tp": "2"}, (2, 1, 1)),
        ({"gpu_count": "8", "tp": ""}, (1, 1, 8)),
        ({"gpu_count": "8", "tp": "", "model": "meta-llama/Llama-3.1-70B"}, (4, 1, 2)),
        ({"gpu_count": "4", "tp": "1", "ep": "4", "model": "MiniMaxAI/MiniMax-M2.5", "weight_quant": "fp8"}, (4, 1, 1)),
    ],
)
def test_gpus_are_shared_out_as_stated_or_to_the_fewest_that_hold_the_weights(
    cells: dict[str, str], layout: tuple[int, int, int]
) -> None:
    found = case_of(**cells)
    assert (found.tp, found.pp, found.replicas) == layout


@pytest.mark.parametrize(
    ("cells", "kv"),
    [
        ({}, Dtype.FP8),
        ({"engine_version": "0.13.0"}, None),
        ({"engine_version": ""}, None),
        ({"kv_dtype": "bf16"}, None),
        ({"kv_dtype": "auto"}, None),
        ({"model": "meta-llama/Llama-3.1-8B-Instruct"}, None),
    ],
)
def test_a_checkpoint_of_nvidia_brings_its_kv_type_where_the_release_heeds_it(
    cells: dict[str, str], kv: Dtype | None
) -> None:
    plain = {"model": "nvidia/Llama-3.1-8B-Instruct-FP8", "weight_quant": "fp8", "date": ""}
    assert case_of(**{**plain, **cells}).kv_dtype == kv


def test_a_kv_type_of_eight_bit_is_understood_in_its_spellings() -> None:
    assert [case_of(kv_dtype=kv).kv_dtype for kv in ("fp8_e4m3", "FP8", "", "auto")] == [
        Dtype.FP8,
        Dtype.FP8,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"engine": "sglang"}, 'engine "sglang" is not in the catalog'),
        ({"model": "google/flan-t5-xl"}, 'model "google/flan-t5-xl" is not in the catalog'),
        ({"model": "deepseek-ai/DeepSeek-V4-Flash"}, "deepseek-ai/DeepSeek-V4-Flash cannot be sized"),
        ({"gpu": "TPU"}, 'GPU "TPU" is not in the catalog'),
        ({"weight_quant": "ternary"}, 'weight format "ternary" is not known'),
        ({"load_type": "burst"}, 'load type "burst" is not known'),
        ({"load_value": ""}, "requests in flight are not stated"),
        ({"load_type": "open_loop_rate", "load_value": "0"}, "arrival rate is not stated"),
        ({"load_type": "static_batch", "load_value": "~"}, "batch size is not stated"),
        ({"input_tokens": ""}, "prompt length is not stated"),
        ({"output_tokens": ""}, "output length is not stated"),
        ({"tp": "", "gpu_count": ""}, "neither GPUs nor tensor parallelism are stated"),
        ({"tp": "8", "gpu_count": "4"}, "tp 8 and pp 1 need more than the 4 GPUs stated"),
        ({"tp": "3", "gpu_count": "4"}, "4 GPUs are no whole number of replicas of 3"),
        ({"model": "meta-llama/Llama-3.1-70B"}, "weights leave no room for a KV cache on 1 x h100-80gb-sxm"),
        (
            {"model": "openai/gpt-oss-120b", "weight_quant": "mxfp4", "dp": "8", "tp": "1", "gpu_count": "8"},
            "attention data parallelism is not modelled",
        ),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why(cells: dict[str, str], reason: str) -> None:
    found = answered(make_row(**cells))[0]
    assert reason in found.skipped
    assert found.values == ()


@given(
    st.dictionaries(
        st.sampled_from(["gpu_count", "tp", "pp", "dp", "ep", "load_value", "input_tokens", "output_tokens", "notes"]),
        st.one_of(st.text(max_size=12), st.integers(-3, 10**7).map(str), st.floats().map(str)),
    ),
    st.sampled_from(
        ["static_batch", "closed_loop_concurrency", "open_loop_rate", "offline_max", "startup_memory_only"]
    ),
)
def test_any_row_is_answered_with_finite_ordered_values_or_a_reason(cells: dict[str, str], load: str) -> None:
    found = answered(make_row(**{**cells, "load_type": load}))[0]
    assert bool(found.skipped) != bool(found.values)
    for _, value in found.values:
        assert 0 <= value.low <= value.expected <= value.high
        assert np.isfinite(value.high)


# ── predictions of each kind of load ─────────────────────────────────────────────────────────────────────


def test_a_table_is_answered_as_its_rows_are_one_by_one() -> None:
    rows = [
        make_row(row_id="a"),
        make_row(row_id="b", load_type="open_loop_rate", load_value="4"),
        make_row(row_id="c", gpu="A100-80GB-SXM", load_type="static_batch", load_value="8"),
        make_row(row_id="d", load_type="offline_max", load_value="500", gpu_count="4"),
        make_row(row_id="e", load_type="startup_memory_only"),
        make_row(row_id="f", engine="tgi", engine_version=""),
        make_row(row_id="g", gpu="nothing"),
        make_row(row_id="h", load_value="64", notes="max_num_seqs 32"),
    ]
    together = answered(*rows)
    assert [found.run.row_id for found in together] == list("abcdefgh")
    for row, found in zip(rows, together, strict=True):
        alone = answered(row)[0]
        assert dict(found.values).keys() == dict(alone.values).keys()
        for metric, value in found.values:
            assert value == pytest.approx(alone.value(metric)) or value == alone.value(metric)


@pytest.mark.parametrize("load", ["closed_loop_concurrency", "open_loop_rate", "static_batch", "offline_max"])
def test_replicas_share_the_load_and_add_up_their_tokens(load: str) -> None:
    one = answered(make_row(load_type=load, load_value="8"))[0]
    four = answered(make_row(load_type=load, load_value="32", gpu_count="4"))[0]
    for metric, factor in ((Metric.TTFT, 1.0), (Metric.TPOT, 1.0), (Metric.E2E, 1.0), (Metric.THROUGHPUT, 4.0)):
        ours, theirs = one.value(metric), four.value(metric)
        assert ours is not None
        assert theirs is not None
        assert theirs.expected == pytest.approx(factor * ours.expected)


def test_the_median_is_predicted_where_only_the_median_was_measured() -> None:
    mean = answered(make_row(load_type="open_loop_rate", load_value="20"))[0]
    median = answered(make_row(load_type="open_loop_rate", load_value="20", ttft_ms_mean="", ttft_ms_p50="60"))[0]
    of_mean, of_median = mean.value(Metric.TTFT), median.value(Metric.TTFT)
    assert of_mean is not None
    assert of_median is not None
    assert of_median.expected < of_mean.expected
    assert mean.value(Metric.TPOT) == median.value(Metric.TPOT)


def test_a_queue_without_end_has_no_first_token_time_but_a_rate() -> None:
    found = answered(make_row(load_type="offline_max", load_value=""))[0]
    assert found.value(Metric.TTFT) is None
    assert found.value(Metric.E2E) is None
    assert found.value(Metric.THROUGHPUT) is not None
    known = answered(make_row(load_type="offline_max", load_value="", notes="300 requests"))[0]
    assert known.value(Metric.TTFT) is not None


def test_an_overload_waits_the_longer_the_more_requests_it_lasts() -> None:
    def ttft(notes: str) -> float:
        return value_of(Metric.TTFT, load_type="open_loop_rate", load_value="200", notes=notes)

    assert ttft("1000 requests") > 2.0 * ttft("300 requests") > 0
    capped = ttft("1000 requests; client allows at most 440 requests in flight")
    assert capped < ttft("10000 requests")
    unknown = answered(make_row(load_type="open_loop_rate", load_value="200"))[0]
    assert unknown.value(Metric.TTFT) is None
    assert unknown.value(Metric.TPOT) is not None


def test_a_start_without_traffic_has_memory_alone() -> None:
    found = answered(make_row(load_type="startup_memory_only", load_value="", input_tokens="", output_tokens=""))[0]
    assert set(dict(found.values)) == {Metric.KV_TOKENS, Metric.KV_POOL, Metric.WEIGHTS}


def test_low_ends_never_beat_physics() -> None:
    cases = [case_of(), case_of(load_type="open_loop_rate", load_value="1"), case_of(load_type="static_batch")]
    floors = predict_cases(cases, CATALOG.calibrations)
    for place, found in enumerate(answered(*(case.run for case in cases))):
        ttft, tpot = found.value(Metric.TTFT), found.value(Metric.TPOT)
        assert ttft is not None
        assert tpot is not None
        assert ttft.low >= floors.prompt_floor_ms[place] * (1 - 1e-12)
        assert tpot.low >= floors.token_floor_ms[place] * (1 - 1e-12)


# ── scores by hand ───────────────────────────────────────────────────────────────────────────────────────


def answered_with(measured: float, predicted: Value, **cells: str) -> Answer:
    run = make_row(itl_or_tpot_ms_mean=str(measured), ttft_ms_mean="", e2e_ms_mean="", output_tok_s_total="", **cells)
    found = MATCHER.case(run)
    assert isinstance(found, Case)
    return Answer(run, found, "", ((Metric.TPOT, predicted),))


def test_errors_of_four_rows_are_scored_as_by_hand() -> None:
    answers = [
        answered_with(10.0, Value(8.0, 11.0, 12.0)),  # +10 %, in range
        answered_with(10.0, Value(7.0, 8.0, 9.0), load_value="17"),  # -20 %, out of range
        answered_with(10.0, Value(10.0, 14.0, 20.0), load_value="18"),  # +40 %, in range
        answered_with(10.0, Value(5.0, 10.0, 15.0), load_value="19"),  # 0 %, in range
    ]
    found = score_metric(answers, Metric.TPOT)
    assert found is not None
    assert found.rows == 4
    assert found.median_error == pytest.approx(0.15)
    assert found.mean_error == pytest.approx(0.175)
    assert found.bias == pytest.approx(0.05)
    assert found.near == 0.75
    assert found.covered == 0.75
    assert score_metric(answers, Metric.TTFT) is None


def test_slices_part_the_rows_and_metrics_stay_apart() -> None:
    answers = [
        answered_with(10.0, Value(9.0, 11.0, 12.0)),
        answered_with(10.0, Value(9.0, 13.0, 14.0), gpu="A100-80GB-SXM", source_id="other"),
        Answer(make_row(gpu="x"), None, "no such GPU"),
    ]
    scores = score(answers)
    assert (scores.runs, scores.predicted, scores.skipped) == (3, 2, (("no such GPU", 1),))
    by_gpu = {part.value: part.scores for part in scores.slices if part.dimension == "GPU"}
    assert list(by_gpu) == ["a100-80gb-sxm", "h100-80gb-sxm"]
    assert dict(by_gpu["a100-80gb-sxm"])[Metric.TPOT].bias == pytest.approx(0.3)
    assert {part.value for part in scores.slices if part.dimension == "source"} == {"other", "test"}


def test_a_run_that_two_sources_tell_counts_once_and_repeats_of_one_source_count_each() -> None:
    value = Value(9.0, 11.0, 12.0)
    twice = [answered_with(10.0, value), answered_with(10.01, value, source_id="copy", input_tokens="1000")]
    assert score(twice).repeated == 1
    repeats = [answered_with(10.0, value), answered_with(10.01, value)]
    assert score(repeats).repeated == 0
    others = [answered_with(10.0, value), answered_with(10.5, value, source_id="copy")]
    assert score(others).repeated == 0


def test_releases_are_listed_in_their_order() -> None:
    value = Value(9.0, 11.0, 12.0)
    answers = [answered_with(10.0, value, engine_version=version) for version in ("0.11.0", "0.9.1", "0.10.2")]
    releases = [part.value for part in score(answers).slices if part.dimension == "engine version"]
    assert releases == ["vllm 0.9", "vllm 0.10", "vllm 0.11"]


def test_what_is_told_of_predicted_rows_is_counted_and_stands_beside_what_was_assumed() -> None:
    cells = {"requests": "400", "requests_failed": "12"}
    answers = answered(make_row(**cells), make_row(**cells, load_value="32"), make_row(**cells, gpu="x"))
    words = "12 of 400 requests failed; the others stand for all"
    assert score(answers).noted == ((words, 2),)
    assert answers[0].case is not None
    assert words in answers[0].case.assumed


def test_bursts_are_predicted_to_wait_longer_and_a_metronome_shorter_than_chance() -> None:
    loaded = {"load_type": "open_loop_rate", "load_value": "3", "notes": "max_num_seqs 8", "requests": "3000"}
    even, chance, bursts = answered(*(make_row(**loaded, arrival_scv=scv) for scv in ("0", "", "4")))
    waits = [found.value(Metric.TTFT) for found in (even, chance, bursts)]
    assert None not in waits
    expected = [value.expected for value in waits if value is not None]
    assert expected == sorted(expected)
    assert len(set(expected)) == 3
    (poisson,) = answered(make_row(**loaded, arrival_scv="1"))
    assert poisson.values == chance.values


# ── rows as a file ───────────────────────────────────────────────────────────────────────────────────────


def test_each_row_of_a_table_becomes_one_line_in_its_order() -> None:
    runs = read_table(make_table({"row_id": "a"}, {"row_id": "b", "gpu": "x"}, {"row_id": "c"}), "runs.csv")
    lines = list(csv.DictReader(io.StringIO(write_rows(answered(*runs)))))
    assert [line["row_id"] for line in lines] == ["a", "b", "c"]
    assert lines[0].keys() == dict.fromkeys(COLUMNS).keys()
    assert lines[1]["skipped"] == 'GPU "x" is not in the catalog'
    assert not any(lines[1][f"{metric}{end}"] for metric in RANGED for end in ("", "_low", "_high"))
    for metric in RANGED:
        low, expected, high = (float(lines[0][f"{metric}{end}"]) for end in ("_low", "", "_high"))
        assert low <= expected <= high
    assert float(lines[0]["kv_pool_tokens"]) > 0
    assert lines[0]["skipped"] == ""
    assert lines[2] == {**lines[0], "row_id": "c"}


def test_constants_laid_over_ours_change_the_predictions() -> None:
    slower = [
        replace(
            entry, constants=tuple((name, 2.0 * v if name == "step_overhead_s" else v) for name, v in entry.constants)
        )
        for entry in CATALOG.calibrations
    ]
    ours = answer([make_row()], MATCHER, CATALOG.calibrations)[0].value(Metric.TPOT)
    theirs = answer([make_row()], MATCHER, slower)[0].value(Metric.TPOT)
    assert ours is not None
    assert theirs is not None
    assert theirs.expected > ours.expected
