"""Time of one engine step: memory against arithmetic, plus what runs beside them.

A step runs ``b`` decoding sequences and ``p`` prompt tokens together (chunked prefill). On every GPU::

    weights     = (always + head) / (bandwidth x weight_mbu) + touched experts / (bandwidth x expert_mbu)
    arithmetic  = (b + p) x FLOP per token / (peak x MFU)
    engine      = (weights^4 + arithmetic^4)^(1/4) + KV reads + attention + all-reduces + host time
    step        = (engine^4 + (b x stream)^4)^(1/4)

The fourth-power mean is a smooth maximum: 19 % above either where both are equal, and the larger elsewhere. The host
time grows where a step holds more tokens than CUDA graphs are captured for, as all long prompts do. A front end that
needs ``stream`` for each token that it sends bounds the pace of many streams, whatever the GPU does.

With pipeline parallelism every stage is such an engine with a share of the layers, and the last has the LM head. A
micro-batch passes one stage after another; only different micro-batches overlap, ``m = min(b, pp)`` of them with
``n = 1 + (b - 1) / pp`` sequences each as one of them meets them::

    round       = max(sum of the stages, m x last stage) + hops

which is what a sequence waits for its next token, and what a prompt takes to its first. A hop hands the activations of
a micro-batch to the next machine; the sampled tokens go back to the first.

With speculative decoding a step works on ``1 + k`` tokens of each sequence, of which it gains some
(:func:`inferplan.estimate.drafting.tokens_per_step`), after ``k`` passes of what drafts. Weights that stay in the
machine's memory are read over the GPU's host link in every step.

References
----------
.. [1] S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009.
.. [2] vLLM 0.33.0, ``v1/core/sched/async_scheduler.py`` (``next_decode_eligible_step``: a sequence decodes once in
   ``pp`` steps) and ``model_executor/models/llama.py`` (``IntermediateTensors``: what a stage hands on).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.estimate.replica import ReplicaTable

Floats = NDArray[np.float64]

CAPTURED_TOKENS = 512.0
"""Tokens up to which CUDA graphs are captured; larger steps are launched kernel by kernel."""
WHOLE_SHARE = 0.5
"""Share of the passes over activations that every tensor-parallel rank does in full (residuals, norms)."""
ACTIVATION_BYTES = 2.0
"""Bytes of one activation value (16 bit)."""
HOP_TENSORS = 2.0
"""Tensors of hidden size that a pipeline stage hands on for each token: hidden states and residual."""
ASSUMED_NODE_LINK_BYTES_PER_S = 12.5e9
"""Network between the machines of a pipeline, one direction (100 Gbit/s) [bytes/s]."""
ASSUMED_HOP_LATENCY_S = 200e-6
"""Fixed time of handing something to the next machine (network, and what the engine says of it first) [s]."""


def smooth_max(a: Floats, b: Floats) -> Floats:
    """Fourth-power mean: at least the larger of both, at most 2^(1/4) times it.

    >>> float(smooth_max(np.array(3.0), np.array(0.0)))
    3.0
    """
    a2, b2 = a * a, b * b
    return np.sqrt(np.sqrt(a2 * a2 + b2 * b2))


def touched_share(tokens: Floats, experts: Floats, experts_per_token: Floats) -> Floats:
    """Share of the experts that at least one of ``tokens`` uses, if each picks at random.

    Notes
    -----
    ``1 - (1 - k / E)^tokens``; 0 for dense models, which have none. Mixtral (2 of 8) with 24 sequences: 99.9 %.

    >>> round(float(touched_share(np.array(24.0), np.array(8.0), np.array(2.0))), 4)
    0.999
    """
    return -np.expm1(tokens * log_untouched(experts, experts_per_token))


def log_untouched(experts: Floats, experts_per_token: Floats) -> Floats:
    """Logarithm of the chance that one token leaves a given expert alone; zero for dense models."""
    share = np.where(experts > 0, experts_per_token / np.maximum(experts, 1.0), 0.0)
    return np.log1p(-np.minimum(share, 1.0 - 1e-12))


def kv_read_bytes(table: ReplicaTable, context: Floats) -> Floats:
    """KV bytes that one decoding sequence reads in a step on one GPU, shape (n,)."""
    return (
        context * table.kv_full_bytes_per_token
        + np.minimum(context, table.kv_window_tokens) * table.kv_window_bytes_per_token
        + table.kv_state_bytes
    )


def kv_bandwidth(table: ReplicaTable) -> Floats:
    """Bandwidth at which attention reads the KV cache [bytes/s], shape (n,)."""
    achieved = np.where(table.kv_eight_bit > 0, table.constant("eight_bit_kv_mbu"), table.constant("kv_mbu"))
    found: Floats = table.bandwidth_bytes_per_s * achieved
    return found


@dataclass(frozen=True, slots=True)
class StepModel:
    """A step's coefficients for one set of replicas and one context length [s], shape (n,) each.

    ``weights`` and ``routed`` are times of full reads, ``head`` the part of ``weights`` that only the last stage reads,
    ``tokens_each`` the tokens that a step works on for each sequence (drafted ones included), ``gained`` those that a
    sequence gains by it, ``draft`` the time of drafting, ``offloaded`` that of reading weights over the host link,
    ``left_log`` the logarithm of the share of experts that one token leaves alone, ``sparse`` whether there are experts
    at all, ``staged`` whether there are pipelines; the others are per sequence or per token of one stage.
    """

    pp: Floats
    weights: Floats
    head: Floats
    routed: Floats
    left_log: Floats
    compute_per_token: Floats
    head_per_sequence: Floats
    kv_per_sequence: Floats
    fixed: Floats
    offloaded: Floats
    draft: Floats
    tokens_each: Floats
    gained: Floats
    uncaptured: Floats
    eager: Floats
    per_sequence: Floats
    per_stream: Floats
    moved_per_token: Floats
    hop_per_token: Floats
    hop_latency: Floats
    prompt_share: Floats
    steps_before: Floats
    sparse: bool
    staged: bool

    def time(self, sequences: Floats, prompt_tokens: Floats | float = 0.0) -> Floats:
        """Time of one step of ``sequences`` of the whole replica each, prompts in one of the batches [s]."""
        if not self.staged:
            return smooth_max(self.stage(sequences, prompt_tokens), sequences * self.gained * self.per_stream)
        own = self.micro_batch(sequences)
        last = self.stage(own, prompt_tokens)
        in_flight = np.clip(sequences, 1.0, self.pp)
        together = np.maximum(self._stages(own, prompt_tokens, last), in_flight * last)
        streams = sequences * self.gained * self.per_stream
        return smooth_max(together, streams) + self.hops(own * self.tokens_each + prompt_tokens)

    def per_token(self, sequences: Floats) -> Floats:
        """Time in which ``sequences`` of the whole replica get one token each, no prompts among them [s]."""
        return self.time(sequences) / self.gained

    def through(self, own: Floats, prompt_tokens: Floats | float = 0.0) -> Floats:
        """Time of one batch through all stages, ``own`` sequences and some prompt tokens in it [s]."""
        last = self.stage(own, prompt_tokens)
        if not self.staged:
            return smooth_max(last, own * self.gained * self.per_stream)
        passed = self._stages(own, prompt_tokens, last)
        streams = own * self.gained * self.per_stream
        return smooth_max(passed, streams) + self.hops(own * self.tokens_each + prompt_tokens)

    def stage(self, own: Floats, prompt_tokens: Floats | float = 0.0, *, is_last: bool = True) -> Floats:
        """Time of one batch in one stage, the last or one of the others [s]."""
        decoded = own * self.tokens_each
        tokens = decoded + prompt_tokens
        weights = self.weights if is_last else self.weights - self.head
        memory = weights + self.routed * -np.expm1(tokens * self.left_log) if self.sparse else weights
        arithmetic = tokens * self.compute_per_token
        if is_last:
            arithmetic = arithmetic + decoded * self.head_per_sequence
        beside = own * (self.kv_per_sequence + self.per_sequence) + tokens * self.moved_per_token
        beyond = np.minimum((prompt_tokens + np.maximum(decoded - CAPTURED_TOKENS, 0.0)) / CAPTURED_TOKENS, 1.0)
        beyond = np.maximum(beyond, self.eager)
        alone = self.fixed + self.offloaded + (self.draft if is_last else 0.0)
        return smooth_max(memory, arithmetic) + beside + alone + self.uncaptured * beyond

    def micro_batch(self, sequences: Floats) -> Floats:
        """Sequences that one of ``sequences`` finds in its own batch, itself included.

        Notes
        -----
        ``1 + (b - 1) / pp``: each of the others is in the same of the ``pp`` batches with a chance of ``1 / pp``.
        """
        return sequences / self.pp + (1.0 - 1.0 / self.pp) * np.minimum(sequences, 1.0)

    def hops(self, tokens: Floats) -> Floats:
        """Time in which a batch is handed from machine to machine, and its tokens back to the first [s]."""
        return (self.pp - 1.0) * tokens * self.hop_per_token + self.pp * self.hop_latency

    def _stages(self, own: Floats, prompt_tokens: Floats | float, last: Floats) -> Floats:
        """Sum of the stages, given the time of the last."""
        return last + (self.pp - 1.0) * self.stage(own, prompt_tokens, is_last=False)


def overlapped(stages: Floats, batches: Floats) -> Floats:
    """Share of the time one after another that so many batches take which follow each other through the stages.

    Notes
    -----
    Of equal batches the k-th is done after ``pp + k - 1`` times of a stage, so ``(k + pp - 1) / (k pp)``.

    >>> float(overlapped(np.array(4.0), np.array(1.0))), float(overlapped(np.array(2.0), np.array(3.0)))
    (1.0, 0.6666666666666666)
    """
    return (batches + (stages - 1.0)) / (batches * stages)


def step_model(table: ReplicaTable, context_tokens: Floats | float) -> StepModel:
    """Work out the coefficients of :class:`StepModel` for decoding at a mean context length."""
    c = table.constant
    bandwidth = table.bandwidth_bytes_per_s
    mfu = np.where(table.low_precision > 0, c("low_precision_mfu"), c("mfu"))
    slowdown = np.where(table.weight_only > 0, c("weight_only_slowdown"), 1.0)
    stage_layers = table.layers / table.pp
    several = table.tp > 1
    traffic = 2.0 * (table.tp - 1.0) / table.tp * ACTIVATION_BYTES * table.hidden
    reduces = 2.0 * stage_layers * several
    passes = (
        c("activation_passes") * table.layers * (WHOLE_SHARE + (1.0 - WHOLE_SHARE) / table.tp)
        + c("expert_activation_passes") * table.expert_layers * table.experts_per_token
    )
    context = np.asarray(context_tokens, dtype=np.float64)
    return StepModel(
        pp=table.pp,
        weights=(table.always_bytes + table.head_bytes) / (bandwidth * c("weight_mbu")),
        head=table.head_bytes / (bandwidth * c("weight_mbu")),
        routed=table.routed_bytes / (bandwidth * c("expert_mbu")),
        left_log=log_untouched(table.experts, table.experts_per_token),
        sparse=bool(np.any(table.routed_bytes > 0)),
        staged=bool(np.any(table.pp > 1)),
        compute_per_token=slowdown
        * (
            table.layer_flop_per_token / (table.peak_flops_per_s * mfu)
            + table.expert_flop_per_token / (table.peak_expert_flops_per_s * c("expert_mfu"))
        ),
        head_per_sequence=table.head_flop_per_token / (table.peak_attention_flops_per_s * c("mfu")),
        kv_per_sequence=kv_read_bytes(table, context) / kv_bandwidth(table),
        fixed=c("step_overhead_s")
        + c("layer_overhead_s") * stage_layers
        + c("expert_layer_overhead_s") * table.expert_layers / table.pp
        + reduces * c("allreduce_latency_s"),
        offloaded=table.offloaded_bytes / table.host_bytes_per_s,
        draft=table.drafted_tokens
        * (table.draft_bytes / (bandwidth * c("weight_mbu")) + c("layer_overhead_s") * table.draft_layers),
        tokens_each=1.0 + table.drafted_tokens,
        gained=table.tokens_per_step,
        uncaptured=c("uncaptured_layer_s") * stage_layers,
        eager=table.eager,
        per_sequence=c("sequence_overhead_s"),
        per_stream=c("stream_token_s") * table.serves,
        moved_per_token=reduces * traffic / (table.link_bytes_per_s * c("link_efficiency"))
        + ACTIVATION_BYTES * table.hidden * passes / (table.pp * bandwidth),
        hop_per_token=HOP_TENSORS * ACTIVATION_BYTES * table.hidden / ASSUMED_NODE_LINK_BYTES_PER_S,
        hop_latency=np.where(table.pp > 1, ASSUMED_HOP_LATENCY_S, 0.0),
        prompt_share=c("prompt_share"),
        steps_before=c("steps_before_prompt"),
    )
