"""The engine's scheduler with pipeline parallelism, batch by batch and stage by stage.

Every batch passes the stages in order and each stage works on one batch at a time, so its path is followed event by
event: when a stage is free, when the one before has handed the batch over, when the tokens are back. Shared with the
closed formulas are only the time that one stage needs for one batch and the time of a hop; how stages, batches and
requests wait for each other is found out here.

As in vLLM 0.33.0, ``pp + 1`` batches are under way at most, a sequence gets a token in every ``pp``-th batch, new
requests join the next batch that is put together, and the next chunk of a prompt does not wait for the one before.

References
----------
.. [1] vLLM 0.33.0, ``v1/engine/core.py`` (``step_with_batch_queue``), ``config/vllm.py`` (``max_concurrent_batches``)
   and ``v1/core/sched/async_scheduler.py`` (``next_decode_eligible_step``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferplan.estimate.memory import kept_state_bytes, kv_pool_bytes, sequence_bytes_of
from inferplan.estimate.prefill import attention_time
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import StepModel, kv_bandwidth, kv_read_bytes, step_model
from inferplan.estimate.traffic import Clients, Traffic

Floats = NDArray[np.float64]


@dataclass(slots=True)
class _Batch:
    """One batch under way: when its tokens are out, and the requests that end with it."""

    done_s: float
    ended: list[int] = field(default_factory=list)


class PipelineEngine:
    """The state of a run; requests are known by their place in the traffic.

    Parameters
    ----------
    table
        One row, with several stages.
    """

    def __init__(self, table: ReplicaTable, traffic: Traffic, max_num_seqs: int) -> None:
        self.clients = Clients(traffic)
        self._table = table
        self._kernels = _Kernels(table)
        self._stages = int(table.pp[0])
        self._most = max(max_num_seqs, 1)
        self._budget = float(table.max_num_batched_tokens[0])
        self._pool = float(kv_pool_bytes(table, max_num_seqs)[0])
        self._token_bytes = float((table.kv_full_bytes_per_token + table.kv_window_bytes_per_token)[0])
        self._slack_bytes = float(table.kv_block_tokens[0]) * self._token_bytes + float(kept_state_bytes(table)[0])
        self._prompts: list[float] = traffic.prompt_tokens.tolist()
        self._prefix: list[float] = traffic.prefix_tokens.tolist()
        self._output: list[float] = traffic.output_tokens.tolist()
        self._waiting: deque[int] = deque()
        self._prefilling: dict[int, float] = {}
        """New prompt tokens that are in no batch yet, oldest request first."""
        self._decoding: list[dict[int, float]] = [{} for _ in range(self._stages)]
        """Sequences by the batch of the round in which they get their tokens, with their tokens in the cache."""
        self._held: dict[int, float] = {}
        """Tokens in the cache of all that run, those in their last batch included."""
        self._left = [tokens - 1.0 for tokens in self._output]
        """Tokens still to be put into a batch after the first."""
        self._under_way: deque[_Batch] = deque(_Batch(0.0) for _ in range(self._stages + 1))
        self._free = [0.0] * self._stages
        """When each stage is free."""
        self._back = [0.0] * self._stages
        """When the tokens of each batch of the round were out last."""
        self._sent_out_s = 0.0
        self.steps = 0
        self.preemptions = 0
        self.busy_s = 0.0

    def run(self) -> None:
        """Work until every request is done."""
        turn = 0
        clients = self.clients
        while clients.next_s is not None or self._waiting or self._held:
            oldest = self._under_way.popleft()
            now = oldest.done_s
            for request in oldest.ended:
                self._held.pop(request, None)
            if clients.next_s is not None and not (self._waiting or self._held):
                now = max(now, clients.next_s)
            while clients.next_s is not None and clients.next_s <= now:
                self._waiting.append(clients.send())
            self._under_way.append(self._put_together(turn % self._stages, now))
            turn += 1

    def _put_together(self, turn: int, now: float) -> _Batch:
        """Put the next batch together, and send it through the stages."""
        members = self._decoding[turn]
        self._make_room(members)
        chunks = self._chunks(len(members))
        if not (members or chunks):
            return _Batch(max(now, self._under_way[-1].done_s))
        tokens = [(new, self._held[request] - left - new) for request, new, left in chunks]
        context = sum(members.values()) / len(members) if members else 0.0
        start = max(now, self._back[turn]) if members else now
        batch = _Batch(self._pass(start, len(members), context, tokens))
        self._back[turn] = batch.done_s
        for request in list(members):
            self._next_token(request, members, batch)
        for request, _, left in chunks:
            if left <= 0:
                del self._prefilling[request]
                self._first_token(request, members, batch)
        return batch

    def _pass(self, start: float, sequences: int, context: float, chunks: list[tuple[float, float]]) -> float:
        """Send a batch through the stages; when its tokens are out [s]."""
        last, other = self._kernels.stages(sequences, context, chunks)
        hop, back = self._kernels.hop(sequences + sum(new for new, _ in chunks))
        at = start
        for stage in range(self._stages):
            takes = last if stage == self._stages - 1 else other
            at = max(at, self._free[stage]) + takes
            self._free[stage] = at
            self.busy_s += takes / self._stages
            at += back if stage == self._stages - 1 else hop
        self._sent_out_s = max(at, self._sent_out_s + self._kernels.front_end(sequences))
        self.steps += 1
        return self._sent_out_s

    def _chunks(self, beside: int) -> list[tuple[int, float, float]]:
        """Prompts of the next batch: request, tokens, what is left of it; takes requests in while there is room."""
        budget = self._budget - beside
        found: list[tuple[int, float, float]] = []
        for request in list(self._prefilling):
            if budget > 0:
                found.append(self._chunk(request, budget))
                budget -= found[-1][1]
        while budget > 0 and self._waiting and self._has_room(self._waiting[0]):
            request = self._waiting.popleft()
            self._held[request] = self._prompts[request] + self._made(request)
            self._prefilling[request] = max(self._held[request] - self._prefix[request], 1.0)
            found.append(self._chunk(request, budget))
            budget -= found[-1][1]
        return found

    def _chunk(self, request: int, budget: float) -> tuple[int, float, float]:
        new = min(self._prefilling[request], budget)
        self._prefilling[request] -= new
        return request, new, self._prefilling[request]

    def _made(self, request: int) -> float:
        """Output tokens that a request had before it was put back, its first aside."""
        made: float = self._output[request] - 1.0 - self._left[request]
        return made

    def _has_room(self, request: int) -> bool:
        if len(self._held) >= self._most:
            return False
        return not self._held or self._fits(self._prompts[request] + self._made(request))

    def _fits(self, more_tokens: float) -> bool:
        """Whether all that run fit with one more token each, and one more request."""
        count = len(self._held) + 1
        tokens = sum(self._held.values()) + count + more_tokens
        if tokens * self._token_bytes + count * self._slack_bytes <= self._pool:
            return True
        held = [tokens + 1.0 for tokens in self._held.values()] + ([more_tokens] if more_tokens else [])
        return bool(np.sum(sequence_bytes_of(self._table, np.array(held))) <= self._pool)

    def _make_room(self, members: dict[int, float]) -> None:
        """Put the newest sequences of a batch back while the pool has no block for the next token of all."""
        while len(members) > 1 and not self._fits(0.0):
            request, _ = members.popitem()
            del self._held[request]
            self._waiting.appendleft(request)
            self.preemptions += 1

    def _next_token(self, request: int, members: dict[int, float], batch: _Batch) -> None:
        members[request] += 1.0
        self._held[request] = members[request]
        self._left[request] -= 1.0
        if self._left[request] <= 0:
            del members[request]
            self._end(request, batch)

    def _first_token(self, request: int, members: dict[int, float], batch: _Batch) -> None:
        self.clients.first_token(request, batch.done_s)
        if self._left[request] <= 0:
            self._end(request, batch)
            return
        members[request] = self._held[request]

    def _end(self, request: int, batch: _Batch) -> None:
        batch.ended.append(request)
        self.clients.done(request, batch.done_s)


class _Kernels:
    """Times of one batch in one stage, and between two."""

    def __init__(self, table: ReplicaTable) -> None:
        self._table = table
        step = step_model(table, 0.0)
        arrays = {
            f.name: getattr(step, f.name) for f in fields(StepModel) if not isinstance(getattr(step, f.name), bool)
        }
        numbers: dict[str, Any] = {name: float(values[0]) for name, values in arrays.items()}
        numbers["kv_per_sequence"] = 0.0  # depends on the context; added below
        self._step = replace(step, **numbers)
        self._per_byte = 1.0 / float(kv_bandwidth(table)[0])
        self._stages = float(table.pp[0])

    def stages(self, sequences: int, context: float, chunks: list[tuple[float, float]]) -> tuple[float, float]:
        """Time in the last stage and in each of the others, with prompt chunks of (tokens, tokens before them) [s].

        Notes
        -----
        Decoding sequences see only the share of a prompt's time by which it stretches their step. With speculative
        decoding each of the batches here stands for the share of a step in which a sequence gains one token.
        """
        step = self._step
        bare = [self._stage(sequences, 0.0, is_last=is_last) for is_last in (True, False)]
        reading = sequences * float(kv_read_bytes(self._table, np.array([context]))[0]) * self._per_byte
        gained = float(step.gained)
        each = [(time_s + reading) / gained for time_s in bare]
        if not chunks:
            return each[0], each[1]
        tokens = np.array([new for new, _ in chunks])
        before = np.array([cached for _, cached in chunks])
        attention = float(np.sum(attention_time(self._table, tokens, before))) / self._stages
        share = float(step.prompt_share) if sequences else 1.0
        whole = [self._stage(sequences, float(tokens.sum()), is_last=is_last) + attention for is_last in (True, False)]
        last, other = (token + share * (both - alone) for token, alone, both in zip(each, bare, whole, strict=True))
        return last, other

    def _stage(self, sequences: int, prompt_tokens: float, *, is_last: bool) -> float:
        own: Any = float(sequences)
        return float(self._step.stage(own, prompt_tokens, is_last=is_last))

    def hop(self, tokens: float) -> tuple[float, float]:
        """Time of handing a batch to the next machine, and its tokens back to the first [s]."""
        latency = float(self._step.hop_latency)
        return latency + tokens * float(self._step.hop_per_token), latency

    def front_end(self, streams: int) -> float:
        """Time in which the front end sends a token of each stream [s]."""
        return streams * float(self._step.per_stream)
