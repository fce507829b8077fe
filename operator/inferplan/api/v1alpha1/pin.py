"""A pinned configuration: evaluate exactly this, down to how the engine is started."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import ConfigDict, Field

from inferplan.api.v1alpha1.scalars import MAXIMUM_TOKENS, SHARE_PATTERN, Name, Relaxed, Rule, SpecModel, Tokens, rules
from inferplan.domain.deployment import TGI_WIGGLE_ROOM
from inferplan.domain.model import Quantization


class EngineName(enum.StrEnum):
    """Engines by the names people use."""

    VLLM = "vLLM"
    TGI = "TGI"


class KvCacheType(enum.StrEnum):
    """Number formats of a KV cache, spelled as ``status.plan.kvCacheType`` shows them."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FP8 = "fp8"


class Execution(enum.StrEnum):
    """How the engine runs a step."""

    CUDA_GRAPHS = "CudaGraphs"
    EAGER = "Eager"


class Modalities(enum.StrEnum):
    """Which inputs a multimodal model is served for."""

    TEXT = "Text"
    ALL = "All"


class SpeculativeMethod(enum.StrEnum):
    """Where drafted tokens come from."""

    NGRAM = "Ngram"
    MTP = "Mtp"
    DRAFT_MODEL = "DraftModel"


class SpeculativeDecoding(SpecModel):
    """Several tokens are drafted cheaply and checked by the model in one step."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "(self.method == 'DraftModel') == has(self.model)",
                "method DraftModel names the draft in model, and no other method has one",
            )
        )
    )

    method: Relaxed[SpeculativeMethod] = Field(
        description=(
            "Ngram repeats what stands in the text already: free, good for summaries and code. Mtp uses the"
            " multi-token-prediction layer that some checkpoints bring. DraftModel runs a smaller model of the same"
            " vocabulary."
        )
    )
    tokens: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Tokens drafted for each step; 2 to 5 are usual, more pay only where most are accepted."
    )
    acceptance_percent: Annotated[int, Field(ge=0, le=99)] | None = Field(
        default=None,
        description=(
            "Share of drafted tokens that the model keeps [percent]. It decides what is gained and depends on your"
            " texts: measure it (vllm:spec_decode_num_accepted_tokens over vllm:spec_decode_num_draft_tokens)."
            " Absent: an assumption, which the plan names."
        ),
    )
    model: Name | None = Field(
        default=None, description="Draft model for DraftModel: one of the catalog, with the vocabulary of the model."
    )


class Pin(SpecModel):
    """Evaluate exactly this; what is left out is still chosen. A full pin is obeyed if it can run at all."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.maxNumSeqs) || !has(self.maxNumBatchedTokens) || (has(self.engine) && self.engine == 'TGI')"
                " || self.maxNumSeqs <= self.maxNumBatchedTokens",
                "maxNumSeqs must not exceed maxNumBatchedTokens: every running sequence takes a token of a step",
            ),
            Rule(
                "!has(self.engine) || self.engine != 'TGI' || !(has(self.cpuOffloadGib) || has(self.kvOffloadGib))",
                "TGI keeps neither weights nor KV cache in the machine's memory: leave cpuOffloadGib and kvOffloadGib"
                " out",
            ),
            Rule(
                "!has(self.engine) || self.engine != 'TGI' || !has(self.speculativeDecoding)"
                " || self.speculativeDecoding.method == 'Ngram'",
                "TGI drafts with method Ngram only",
            ),
            Rule(
                "!has(self.engine) || self.engine != 'TGI' || !has(self.gpuMemoryUtilization)"
                f" || double(self.gpuMemoryUtilization) <= {TGI_WIGGLE_ROOM}",
                f"TGI takes at most {TGI_WIGGLE_ROOM} of each GPU's memory",
            ),
            Rule(
                "!has(self.speculativeDecoding) || self.speculativeDecoding.method == 'Ngram'"
                " || !has(self.maxNumBatchedTokens) || (has(self.engine) && self.engine == 'TGI')"
                " || self.speculativeDecoding.tokens < self.maxNumBatchedTokens",
                "maxNumBatchedTokens must exceed the drafted tokens: a step checks them all and one more",
            ),
        )
    )

    model: Name | None = Field(default=None, description="Catalog model, or the repository of model.custom.")
    quantization: Relaxed[Quantization] | None = Field(default=None, description="Weight format.")
    gpu: Name | None = Field(default=None, description="GPU, by any name that the catalog knows.")
    gpus_per_replica: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="GPUs of one engine instance (tensor x pipeline parallel)."
    )
    replicas: Annotated[int, Field(ge=1, le=100_000)] | None = Field(default=None, description="Engine instances.")
    max_num_seqs: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        default=None, description="Most sequences that one replica runs at once (its batch limit)."
    )
    max_model_len: Tokens | None = Field(
        default=None, description="Longest sequence, prompt and output together [tokens]."
    )
    engine: Relaxed[EngineName] | None = Field(default=None, description="Engine.")
    kv_cache_type: Relaxed[KvCacheType] | None = Field(
        default=None,
        description=(
            "Number format of the KV cache. fp8 holds twice the tokens of a 16-bit type, at a small loss of accuracy;"
            " bfloat16 and float16 both mean the 16-bit type that the model computes in. Absent: chosen, and in a pin"
            " that fixes everything else the type that the checkpoint asks for, mostly 16 bit."
        ),
    )
    gpu_memory_utilization: Annotated[str, Field(max_length=6, pattern=SHARE_PATTERN)] | None = Field(
        default=None,
        description=(
            'Share of each GPU\'s memory that the engine takes, as a decimal in quotes such as "0.95". More makes room'
            " for KV cache; what is left must hold everything else on the GPU. Absent: the engine's default."
        ),
    )
    max_num_batched_tokens: Annotated[int, Field(ge=1, le=MAXIMUM_TOKENS)] | None = Field(
        default=None,
        description=(
            "Most tokens of one step, prompts and running sequences together. Fewer cost less memory and disturb"
            " running answers less; more read long prompts faster. Absent: the engine's default for the GPU."
        ),
    )
    execution: Relaxed[Execution] | None = Field(
        default=None,
        description=(
            "CudaGraphs replays recorded steps: fast, and takes memory of its own. Eager records none: it starts"
            " sooner, leaves that memory to the KV cache, and each step takes longer. Absent: CudaGraphs."
        ),
    )
    cpu_offload_gib: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description=(
            "Weights of each GPU that stay in the machine's memory [GiB] and are read over PCIe in every step: what"
            " does not fit runs, slowly."
        ),
    )
    kv_offload_gib: Annotated[int, Field(ge=1, le=16_384)] | None = Field(
        default=None,
        description=(
            "Machine memory of a replica [GiB] that keeps KV cache evicted from its GPUs, so that a prompt that comes"
            " again is not computed anew. It adds nothing to what runs at once."
        ),
    )
    speculative_decoding: SpeculativeDecoding | None = Field(
        default=None, description="Draft several tokens per step; pays while few sequences run."
    )
    modalities: Relaxed[Modalities] | None = Field(
        default=None,
        description=(
            "Text leaves the vision and audio parts of a multimodal checkpoint unloaded, and their memory to the KV"
            " cache. All loads them, so that clients may send images. Absent: Text."
        ),
    )
