"""Models that runs were measured on and that nobody plans any more: predicted, never offered.

Older and rarer models appear in published measurements all the time. They are known by their shape alone, in one table
of our own, apart from the catalog's records: no licence, quality or weights are recorded, so no plan can pick them.
"""

from __future__ import annotations

import csv
from pathlib import Path

from inferplan.domain.model import (
    AttentionLayers,
    Checkpoint,
    Dtype,
    LayerKind,
    MixtureOfExperts,
    ModelSpec,
    Quantization,
    Source,
)

TABLE = Path(__file__).parent / "data" / "yardsticks.csv"
RETRIEVED = "2026-11-25"
_NATIVE = {"float16": ("fp16", Quantization.FP16), "bfloat16": ("bf16", Quantization.BF16)}


def load_yardsticks() -> tuple[ModelSpec, ...]:
    """Load the table, in its order."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return tuple(_model(row) for row in csv.DictReader(lines))


def _model(row: dict[str, str]) -> ModelSpec:
    number = {name: int(cell) for name, cell in row.items() if cell.isdigit()}
    method, quantization = _NATIVE[row["native_dtype"]]
    return ModelSpec(
        id=row["id"],
        family=row["family"],
        architecture=row["architecture"],
        params_total=number["params_total"],
        params_active=number["params_active"],
        layers=number["layers"],
        hidden_size=number["hidden_size"],
        attention_heads=number["attention_heads"],
        kv_heads=number["kv_heads"],
        head_dim=number["head_dim"],
        intermediate_size=number["intermediate_size"],
        vocab_size=number["vocab_size"],
        tie_word_embeddings=row["tie_word_embeddings"] == "true",
        max_position_embeddings=number["max_position_embeddings"],
        attention=_attention(number),
        moe=_experts(number),
        native_dtype=Dtype(row["native_dtype"]),
        license="not recorded",
        gated=None,
        checkpoints=(Checkpoint(row["id"], method, quantization),),
        same_shape=tuple(row["same_shape"].split()),
        sources=(Source(("architecture", "parameters"), row["source"], RETRIEVED),),
    )


def _attention(number: dict[str, int]) -> tuple[AttentionLayers, ...]:
    """Layers by what they keep: latent, windowed, linear, and the rest in full."""
    latent, linear = number.get("latent_values_per_token"), number.get("linear_layers", 0)
    if latent is not None:
        return (AttentionLayers(LayerKind.MLA, number["layers"], latent_values_per_token=latent),)
    windowed = number.get("windowed_layers", 0)
    full = number.get("attention_layers", number["layers"]) - windowed
    heads, size = number["kv_heads"], number["head_dim"]
    groups = (
        AttentionLayers(LayerKind.FULL, full, heads, size, size),
        AttentionLayers(LayerKind.SLIDING, windowed, heads, size, size, number.get("window_tokens")),
        AttentionLayers(LayerKind.LINEAR, linear, state_bytes_per_sequence=number.get("state_bytes_per_sequence", 0)),
    )
    return tuple(group for group in groups if group.layers)


def _experts(number: dict[str, int]) -> MixtureOfExperts | None:
    if "experts" not in number:
        return None
    return MixtureOfExperts(
        experts=number["experts"],
        experts_per_token=number["experts_per_token"],
        expert_intermediate_size=number["expert_intermediate_size"],
        layers=number["expert_layers"],
        shared_experts=number.get("shared_experts", 0),
        shared_intermediate_size=number.get("shared_intermediate_size", 0),
        matrices_per_expert=number["matrices_per_expert"],
    )
