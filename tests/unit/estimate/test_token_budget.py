"""The token budget of a step is the engine's default, and no less than an item that has to be taken at once."""

from __future__ import annotations

import numpy as np
import pytest

from inferplan.domain.deployment import EngineSpec
from inferplan.domain.model import ModelSpec
from inferplan.estimate.estimator import build_replicas
from tests.builders import make_engine, make_gpu, make_method, make_model

A100 = make_gpu(id="a100-80gb-sxm")


def budget(model: ModelSpec, engine: EngineSpec) -> float:
    nothing, one = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    table = build_replicas(
        weights=[(model, make_method())],
        engines=[engine],
        gpus=[A100],
        kv_dtypes=(None,),
        calibrations=[],
        weight=nothing,
        engine=nothing,
        gpu=nothing,
        kv=nothing,
        tp=one,
        pp=one,
    )
    return float(table.max_num_batched_tokens[0])


@pytest.mark.parametrize(
    ("item", "text_only", "expected"),
    [
        pytest.param(2496, False, 2496.0, id="a video does not fit the default"),
        pytest.param(256, False, 2048.0, id="an image fits the default"),
        pytest.param(2496, True, 2048.0, id="text alone has no items"),
    ],
)
def test_a_step_holds_the_largest_item_of_a_prompt(item: int, text_only: bool, expected: float) -> None:  # noqa: FBT001
    assert budget(make_model(multimodal_item_tokens=item), make_engine(text_only=text_only)) == expected
