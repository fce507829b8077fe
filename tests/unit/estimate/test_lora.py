"""Memory of LoRA adapters, against the shapes of vLLM's own tensors."""

from __future__ import annotations

import numpy as np
import pytest

from inferplan.catalog import load_catalog
from inferplan.domain.lora import LoraRoom, lora_room
from inferplan.estimate.lora import lora_bytes

MODELS = {model.id: model for model in load_catalog().models}
ONE = np.ones(1)


def size(model: str, room: LoraRoom, tp: int = 1, pp: int = 1) -> float:
    return float(lora_bytes(MODELS[model], room, tp_size=tp * ONE, pp_size=pp * ONE)[0])


def test_adapters_of_a_dense_model_have_two_matrices_beside_every_weight() -> None:
    """Llama 3.1 8B: q, k, v, o, gate, up and down of 32 layers; embedding and head of the vocabulary."""
    layer = (4096 + 4096) + 2 * (4096 + 1024) + (4096 + 4096) + 2 * (4096 + 14336) + (14336 + 4096)
    values = 32 * layer + 2 * (128256 + 4096)
    assert size("meta-llama/Llama-3.1-8B-Instruct", LoraRoom(32, 512)) == pytest.approx(2 * 32 * 512 * values)


def test_tensor_parallelism_splits_one_half_of_an_adapter_and_full_sharding_both() -> None:
    layer = (4096 + 4096 / 4) + 2 * (4096 + 1024 / 4) + (4096 / 4 + 4096) + 2 * (4096 + 14336 / 4) + (14336 / 4 + 4096)
    values = 32 * layer + 2 * (128256 + 4096)
    model = "meta-llama/Llama-3.1-8B-Instruct"
    assert size(model, LoraRoom(1, 16), tp=4) == pytest.approx(2 * 16 * values)
    sharded = 32 * (4096 + 4096 + 2 * (4096 + 1024) + 4096 + 4096 + 3 * (4096 + 14336)) / 4 + 2 * (128256 + 4096)
    assert size(model, LoraRoom(1, 16, fully_sharded=True), tp=4) == pytest.approx(2 * 16 * sharded)


def test_every_expert_has_adapters_of_its_own() -> None:
    """Mixtral 8x7B: 8 experts of 3 x 4096 x 14336 in each of 32 layers."""
    layer = (4096 + 4096) + 2 * (4096 + 1024) + (4096 + 4096) + 8 * 3 * (4096 + 14336)
    values = 32 * layer + 2 * (32000 + 4096)
    assert size("mistralai/Mixtral-8x7B-Instruct-v0.1", LoraRoom(2, 64)) == pytest.approx(2 * 2 * 64 * values)


@pytest.mark.parametrize("model", sorted(name for name, model in MODELS.items() if not model.not_sizable))
def test_more_adapters_of_a_higher_rank_take_more_and_more_gpus_take_less_each(model: str) -> None:
    one = size(model, LoraRoom(1, 16))
    assert one > 0
    assert size(model, LoraRoom(4, 64)) == pytest.approx(16 * one)
    assert size(model, LoraRoom(1, 16, fully_sharded=True), tp=2) < size(model, LoraRoom(1, 16), tp=2) < one


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), None),
        (("--max-loras=8",), None),
        (("--enable-lora",), LoraRoom(1, 16)),
        (("--enable-lora", "--max-loras", "8", "--max-lora-rank=256"), LoraRoom(8, 256)),
        (("--enable_lora", "--max_loras=2", "--fully-sharded-loras"), LoraRoom(2, 16, fully_sharded=True)),
        (("--max-lora-rank", "64", "--enable-lora", "--max-loras=x"), LoraRoom(1, 64)),
        (("--no-enable-lora",), None),
    ],
)
def test_room_for_adapters_is_read_from_the_users_own_arguments(
    words: tuple[str, ...], expected: LoraRoom | None
) -> None:
    assert lora_room(words) == expected
