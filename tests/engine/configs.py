"""The ``config.json`` of a catalog model: the catalog's numbers, and what the engine reads beside them.

What the engine needs to recognise an architecture (its ``model_type``, how its layers alternate, the widths of latent
attention) stands here; everything that is sized comes from the catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inferplan.domain.model import Checkpoint, Dtype, LayerKind, ModelSpec

Json = dict[str, Any]

MODEL_TYPES = {
    "DeepseekV32ForCausalLM": "deepseek_v32",
    "DeepseekV3ForCausalLM": "deepseek_v3",
    "Gemma2ForCausalLM": "gemma2",
    "Gemma3ForCausalLM": "gemma3_text",
    "Gemma3ForConditionalGeneration": "gemma3",
    "Gemma4ForConditionalGeneration": "gemma4",
    "Glm4MoeForCausalLM": "glm4_moe",
    "GlmMoeDsaForCausalLM": "glm_moe_dsa",
    "GptOssForCausalLM": "gpt_oss",
    "KimiK25ForConditionalGeneration": "kimi_k25",
    "Llama4ForConditionalGeneration": "llama4",
    "LlamaForCausalLM": "llama",
    "MiniMaxM2ForCausalLM": "minimax_m2",
    "MistralForCausalLM": "mistral",
    "MixtralForCausalLM": "mixtral",
    "NemotronHForCausalLM": "nemotron_h",
    "Phi3ForCausalLM": "phi3",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3_moe",
    "Qwen3NextForCausalLM": "qwen3_next",
    "Qwen3_5ForConditionalGeneration": "qwen3_5",
    "Qwen3_5MoeForConditionalGeneration": "qwen3_5_moe",
}
LATENT = {
    "kv_lora_rank": 512,
    "moe_layer_freq": 1,
    "n_group": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "v_head_dim": 128,
}
"""Widths of DeepSeek-V3's latent attention; the catalog states their sum per token."""
INDEXER = {"index_head_dim": 128, "index_n_heads": 32, "index_topk": 2048}
DELTA_NET = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
}
VISION = {
    "depth": 2,
    "hidden_size": 64,
    "image_size": 56,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_heads": 2,
    "num_hidden_layers": 2,
    "patch_size": 14,
}
"""A tower of no one's size: it is made for no image."""


def config_of(model: ModelSpec, quantization: Json | None = None, *, labels: int = 0) -> Json | None:
    """Write the configuration of a model; None where the engine's word for its architecture is not known here.

    Parameters
    ----------
    quantization
        ``quantization_config`` of the checkpoint.
    labels
        Classes of a classification head; none where 0.
    """
    kind = MODEL_TYPES.get(model.architecture)
    if kind is None:
        return None
    text = {**_numbers(model), **_SPECIAL.get(model.architecture, _nothing)(model)}
    config: Json = {"architectures": [model.architecture], "model_type": kind, "dtype": model.native_dtype.value}
    if model.multimodal:
        config |= {
            "text_config": {"model_type": TEXT_TYPES[kind], **text},
            "vision_config": {**VISION, **_vision(kind)},
        }
        config |= {"mm_tokens_per_image": 256} if kind == "gemma3" else {}
    else:
        config |= text
    if quantization is not None:
        config["quantization_config"] = quantization
    if labels:
        config |= {"num_labels": labels, "id2label": {str(index): str(index) for index in range(labels)}}
    return config


TEXT_TYPES = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "kimi_k25": "kimi_k2",
    "llama4": "llama4_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
}


def _vision(kind: str) -> Json:
    types = {"gemma3": "siglip_vision_model", "gemma4": "gemma4_vision", "llama4": "llama4_vision_model"}
    return {"model_type": types[kind]} if kind in types else {}


def _numbers(model: ModelSpec) -> Json:
    numbers: Json = {
        "dtype": model.native_dtype.value,
        "head_dim": model.head_dim,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.intermediate_size or model.hidden_size,
        "max_position_embeddings": model.max_position_embeddings,
        "num_attention_heads": model.attention_heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
        "tie_word_embeddings": model.tie_word_embeddings,
        "vocab_size": model.vocab_size,
    }
    moe = model.moe
    if moe is not None:
        numbers |= dict.fromkeys(("n_routed_experts", "num_experts", "num_local_experts"), moe.experts)
        numbers |= {"num_experts_per_tok": moe.experts_per_token, "moe_intermediate_size": moe.expert_intermediate_size}
        numbers |= {"first_k_dense_replace": model.layers - moe.layers, "n_shared_experts": moe.shared_experts}
    windows = [group.window_tokens for group in model.attention if group.kind is LayerKind.SLIDING]
    if windows:
        numbers["sliding_window"] = windows[0]
    return numbers


def _nothing(model: ModelSpec) -> Json:
    del model
    return {}


def _alternating(full: str, other: str) -> Callable[[ModelSpec], list[str]]:
    """Layer types: as many full ones as the catalog counts, the last layer among them, the others between."""

    def kinds(model: ModelSpec) -> list[str]:
        attending = sum(group.layers for group in model.attention if group.kind is LayerKind.FULL)
        every = max(1, model.layers // attending)
        return [full if (index + 1) % every == 0 else other for index in range(model.layers)]

    return kinds


_WINDOWS = _alternating("full_attention", "sliding_attention")
_LINEAR = _alternating("full_attention", "linear_attention")


def _gemma4(model: ModelSpec) -> Json:
    full, sliding = model.attention
    kinds = ["sliding_attention"] * sliding.layers + ["full_attention"] * full.layers
    return {
        "attention_k_eq_v": True,
        "enable_moe_block": model.moe is not None,
        "global_head_dim": full.key_head_dim,
        "hidden_size_per_layer_input": 0,
        "layer_types": kinds,
        "num_global_key_value_heads": full.kv_heads,
        "num_kv_shared_layers": 0,
        "top_k_experts": model.moe.experts_per_token if model.moe else 0,
        "use_bidirectional_attention": "vision",
    }


def _delta_net(model: ModelSpec) -> Json:
    return {
        **DELTA_NET,
        "full_attention_interval": 4,
        "layer_types": _LINEAR(model),
        "mlp_only_layers": [],
        "shared_expert_intermediate_size": 512,
    }


def _nemotron(model: ModelSpec) -> Json:
    attending = sum(group.layers for group in model.attention if group.kind is LayerKind.FULL)
    mamba = sum(group.layers for group in model.attention if group.kind is LayerKind.LINEAR)
    return {
        "chunk_size": 128,
        "conv_kernel": 4,
        "expand": 2,
        "hybrid_override_pattern": "M" * mamba + "*" * attending + "E" * (model.layers - mamba - attending),
        "mamba_head_dim": 64,
        "mamba_num_heads": 64,
        "moe_shared_expert_intermediate_size": 1024,
        "n_groups": 8,
        "ssm_state_size": 128,
    }


_SPECIAL: dict[str, Callable[[ModelSpec], Json]] = {
    "DeepseekV32ForCausalLM": lambda _: {**LATENT, **INDEXER},
    "DeepseekV3ForCausalLM": lambda _: dict(LATENT),
    "Gemma2ForCausalLM": lambda model: {"layer_types": _WINDOWS(model), "attn_logit_softcapping": 50.0},
    "Gemma3ForCausalLM": lambda model: {"layer_types": _WINDOWS(model)},
    "Gemma3ForConditionalGeneration": lambda model: {"layer_types": _WINDOWS(model)},
    "Gemma4ForConditionalGeneration": _gemma4,
    "GlmMoeDsaForCausalLM": lambda _: {**LATENT, **INDEXER, "qk_nope_head_dim": 192, "v_head_dim": 256, "head_dim": 64},
    "GptOssForCausalLM": lambda model: {"layer_types": _WINDOWS(model)},
    "KimiK25ForConditionalGeneration": lambda _: dict(LATENT),
    "Llama4ForConditionalGeneration": lambda _: {"attention_chunk_size": 8192, "interleave_moe_layer_step": 1},
    "NemotronHForCausalLM": _nemotron,
    "Phi3ForCausalLM": lambda _: {"original_max_position_embeddings": 4096, "pad_token_id": 0},
    "Qwen3NextForCausalLM": _delta_net,
    "Qwen3_5ForConditionalGeneration": _delta_net,
    "Qwen3_5MoeForConditionalGeneration": _delta_net,
}


# ── weight formats ───────────────────────────────────────────────────────────────────────────────────────────

_EXPERTS_ALONE = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]


def _compressed(form: str, weights: Json, activations: Json | None, ignore: list[str] | None = None) -> Json:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ignore or ["lm_head"],
        "kv_cache_scheme": None,
        "config_groups": {"group_0": group},
    }


def _numbers_of(bits: int, kind: str, strategy: str, *, dynamic: bool | str = False, group: int | None = None) -> Json:
    numbers: Json = {"num_bits": bits, "type": kind, "strategy": strategy, "dynamic": dynamic, "symmetric": True}
    return numbers if group is None else {**numbers, "group_size": group}


def _modelopt(bits: int, checkpoint: Checkpoint) -> Json:
    eight_bit = {"dynamic": False, "num_bits": 8, "type": "float"}
    own: Json = {"num_bits": bits, "type": "float", "dynamic": False} | ({"group_size": 16} if bits < 8 else {})
    return {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4" if bits < 8 else "FP8",
        "producer": {"name": "modelopt", "version": "0.40"},
        "ignore": ["lm_head"],
        "kv_cache_scheme": eight_bit if checkpoint.kv_cache_dtype is Dtype.FP8 else None,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": own, "input_activations": own}},
    }


def quantization_of(checkpoint: Checkpoint) -> Json | None:
    """Write the ``quantization_config`` of a checkpoint, as its maker's tool does; None for 16 bit."""
    if checkpoint.made_while_loading:
        return None
    if checkpoint.repository.startswith("nvidia/") and checkpoint.method in {"fp8", "nvfp4"}:
        return _modelopt(8 if checkpoint.method == "fp8" else 4, checkpoint)
    return _WRITTEN.get(checkpoint.method)


_WRITTEN: dict[str, Json] = {
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "fp8": _compressed(
        "float-quantized", _numbers_of(8, "float", "channel"), _numbers_of(8, "float", "token", dynamic=True)
    ),
    "fp8_block": {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "weight_block_size": [128, 128],
    },
    "gptq_int4": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "gptq_int8": {"quant_method": "gptq", "bits": 8, "group_size": 128, "desc_act": False, "sym": True},
    "int8_w8a8": _compressed(
        "int-quantized", _numbers_of(8, "int", "channel"), _numbers_of(8, "int", "token", dynamic=True)
    ),
    "mxfp4": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
    },
    "nvfp4": _compressed(
        "nvfp4-pack-quantized",
        _numbers_of(4, "float", "tensor_group", group=16),
        _numbers_of(4, "float", "tensor_group", dynamic="local", group=16),
    ),
    "w4a16": _compressed("pack-quantized", _numbers_of(4, "int", "group", group=128), None),
    "w4a16_experts": _compressed("pack-quantized", _numbers_of(4, "int", "group", group=32), None, _EXPERTS_ALONE),
}
