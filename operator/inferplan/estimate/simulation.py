"""The engine's scheduler, step by step: the reference that the closed formulas are checked against.

A step gives every running sequence one token, then works on prompts, first come first served, until the token budget is
used up. What a step does is settled some time before it starts (``steps_before_prompt``), so a request that comes while
the engine is busy is looked at that much later. A request is taken in while there is room for one more sequence and for
its prompt in the KV cache; when running sequences find no block, the newest one is put back and starts again, as vLLM
does. An engine that reserves (TGI) takes a request in only if prompt and output fit.

Steps without prompts between two events are taken together at their mean context, so the cost grows with the number of
requests and hardly with their tokens.

Shared with the closed formulas is the time of one step with given sequences and prompts; what runs when, and who waits
for whom, is found out here. Replicas with several stages are followed stage by stage in
:mod:`inferplan.estimate.pipeline_simulation`.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferplan.estimate.memory import kept_state_bytes, kv_pool_bytes, sequence_bytes_of
from inferplan.estimate.pipeline_simulation import PipelineEngine
from inferplan.estimate.prefill import attention_time
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import StepModel, kv_bandwidth, kv_read_bytes, step_model
from inferplan.estimate.traffic import Clients, Traffic

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What became of each request, in the order of the traffic; shape (n,) unless said otherwise [s].

    Parameters
    ----------
    sent_s, done_s
        When it was sent and when its last token came.
    ttft_s, tpot_s, e2e_s
        TPOT of a request with one token is NaN.
    preemptions, steps
        Counts of the whole run.
    busy_s
        Time in which the engine ran steps.
    """

    sent_s: Floats
    done_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    preemptions: int
    steps: int
    busy_s: float


def simulate(table: ReplicaTable, traffic: Traffic, *, max_num_seqs: int, reserves_output: bool = False) -> Simulated:
    """Run a replica through its requests.

    Parameters
    ----------
    table
        One row.
    reserves_output
        Whether the engine takes a request in only if its whole output will fit; engines that do have no pipelines.
    """
    engine: _Engine | PipelineEngine
    if float(table.pp[0]) > 1.0:
        engine = PipelineEngine(table, traffic, max_num_seqs)
    else:
        engine = _Engine(table, traffic, max_num_seqs, reserves_output=reserves_output)
    engine.run()
    clients = engine.clients
    overhead = table.constant("request_overhead_s")[0]
    overhead = overhead + table.constant("request_token_overhead_s")[0] * traffic.prompt_tokens
    ttft = clients.first_s - clients.sent_s + overhead
    decode = clients.done_s - clients.first_s
    gaps = traffic.output_tokens - 1.0
    return Simulated(
        sent_s=clients.sent_s,
        done_s=clients.done_s,
        ttft_s=ttft,
        tpot_s=np.where(gaps > 0, decode / np.maximum(gaps, 1.0), np.nan),
        e2e_s=ttft + decode,
        preemptions=engine.preemptions,
        steps=engine.steps,
        busy_s=engine.busy_s,
    )


class _Clock:
    """Durations of steps of one replica."""

    def __init__(self, table: ReplicaTable) -> None:
        self._table = table
        self._step: StepModel = step_model(table, 0.0)
        self._per_byte = 1.0 / float(kv_bandwidth(table)[0])

    def decode(self, sequences: int, context: float) -> float:
        """Time in which sequences with a mean context gain one token each, no prompts among them [s]."""
        return float(self._at(context).per_token(np.array([float(sequences)]))[0])

    def mixed(self, sequences: int, context: float, chunks: list[tuple[float, float]]) -> float:
        """A step with prompt chunks of (tokens, tokens before them) [s].

        Notes
        -----
        Decoding sequences see only the share of a prompt's time by which it stretches their step.
        """
        step = self._at(context)
        tokens = np.array([chunk for chunk, _ in chunks])
        before = np.array([prefix for _, prefix in chunks])
        attention = float(np.sum(attention_time(self._table, tokens, before)))
        b, p = np.array([float(sequences)]), float(tokens.sum())
        whole = float(step.time(b, p)[0]) + attention
        if not sequences:
            return whole
        bare = float(step.time(b)[0])
        return bare / float(step.gained[0]) + float(step.prompt_share[0]) * (whole - bare)

    def _at(self, context: float) -> StepModel:
        read = kv_read_bytes(self._table, np.array([context]))
        return replace(self._step, kv_per_sequence=read * self._per_byte)


class _Engine:
    """The state of a run; requests are known by their place in the traffic.

    Notes
    -----
    All decoding sequences advance together, so one counter of decode steps says how far each is: a sequence that began
    when the counter stood at d with h tokens in the cache has ``h + (counter - d)`` now.
    """

    def __init__(self, table: ReplicaTable, traffic: Traffic, max_num_seqs: int, *, reserves_output: bool) -> None:
        count = len(traffic)
        self.clients = Clients(traffic)
        self._table = table
        self._clock = _Clock(table)
        self._reserves = reserves_output
        self._most = max(max_num_seqs, 1)
        self._budget = float(table.max_num_batched_tokens[0])
        self._pool = float(kv_pool_bytes(table, max_num_seqs)[0])
        self._token_bytes = float((table.kv_full_bytes_per_token + table.kv_window_bytes_per_token)[0])
        self._slack_bytes = float((table.kv_block_tokens * self._token_bytes + kept_state_bytes(table))[0])
        self._prompts: list[float] = traffic.prompt_tokens.tolist()
        self._prefix: list[float] = traffic.prefix_tokens.tolist()
        self._output: list[float] = traffic.output_tokens.tolist()
        self._waiting: deque[int] = deque()
        self._prefilling: dict[int, float] = {}
        """New prompt tokens still to be worked on, oldest request first."""
        self._decoding: dict[int, float] = {}
        """Tokens in the cache less the counter at the start, oldest first."""
        self._end = [0.0] * count
        """Counter at which each decoding sequence is done."""
        self._ends: list[tuple[float, int]] = []
        """The same as a heap; entries of sequences that were put back stay in it and no longer count."""
        self._offsets = 0.0
        self._prompt_tokens_held = 0.0
        self._counter = 0.0
        self._left = [tokens - 1.0 for tokens in self._output]
        """Tokens still to come after the first, or after the last before being put back."""
        self._ahead = max(float(table.constant("steps_before_prompt")[0]) - 0.5, 0.0)
        self._step_s = 0.0
        self._now = 0.0
        self.steps = 0
        self.preemptions = 0
        self.busy_s = 0.0

    def run(self) -> None:
        """Work until every request is done."""
        clients = self.clients
        while clients.next_s is not None or self._waiting or self._prefilling or self._decoding:
            if clients.next_s is not None and not (self._waiting or self._prefilling or self._decoding):
                self._now = max(self._now, clients.next_s)
            while clients.next_s is not None and clients.next_s + self._lag() <= self._now:
                self._waiting.append(clients.send())
            chunks = self._chunks()
            if chunks:
                self._prompt_step(chunks)
            else:
                self._decode_steps()

    def _lag(self) -> float:
        """How long before its start a step was settled [s]; half a step is what a request waits anyway."""
        return self._ahead * self._step_s if self._decoding else 0.0

    def _chunks(self) -> list[tuple[int, float]]:
        """Prompt tokens of the next step by request; takes new requests in while there is room."""
        budget = self._budget - (0 if self._reserves else len(self._decoding))
        chunks: list[tuple[int, float]] = []
        for request, left in self._prefilling.items():
            if budget <= 0:
                return chunks
            chunks.append((request, min(left, budget)))
            budget -= chunks[-1][1]
        while self._waiting and budget > 0 and self._has_room(self._waiting[0]):
            request = self._waiting.popleft()
            new = self._new_tokens(request)
            self._prefilling[request] = new
            self._prompt_tokens_held += self._held_tokens(request)
            chunks.append((request, min(new, budget)))
            budget -= chunks[-1][1]
        return chunks

    def _held_tokens(self, request: int) -> float:
        """Tokens that a request has in the cache when its prompt is done; of one put back, with what it had made."""
        made: float = self._output[request] - 1.0 - self._left[request]
        held: float = self._prompts[request] + made
        return held

    def _new_tokens(self, request: int) -> float:
        return max(self._held_tokens(request) - self._prefix[request], 1.0)

    def _has_room(self, request: int) -> bool:
        running = len(self._prefilling) + len(self._decoding)
        if running >= self._most:
            return False
        if running == 0:
            return True  # alone it runs even where it can never fit: nothing better can happen to it
        asked = self._held_tokens(request) + (self._left[request] if self._reserves else 0.0)
        return self._fits(asked, ahead=1.0)  # or it would be put back at once

    def _fits(self, more_tokens: float, ahead: float) -> bool:
        """Whether everything that runs fits after ``ahead`` more decode steps, with one more request if asked for.

        An engine that reserves counts every sequence at its full length.
        """
        if not self._reserves:
            running = len(self._decoding)
            tokens = self._offsets + running * (self._counter + ahead) + self._prompt_tokens_held + more_tokens
            sequences = running + len(self._prefilling) + 1
            if tokens * self._token_bytes + sequences * self._slack_bytes <= self._pool:
                return True
        held = [
            offset + (self._end[i] if self._reserves else self._counter + ahead) for i, offset in self._decoding.items()
        ]
        held += [self._held_tokens(i) + self._left[i] * self._reserves for i in self._prefilling]
        if more_tokens:
            held.append(more_tokens)
        return bool(np.sum(sequence_bytes_of(self._table, np.array(held))) <= self._pool)

    def _context(self) -> float:
        running = len(self._decoding)
        return self._offsets / running + self._counter if running else 0.0

    def _prompt_step(self, chunks: list[tuple[int, float]]) -> None:
        """One step with prompts in it; beside them every decoding sequence gets a token, unless prompts stop them."""
        beside = 0 if self._reserves else len(self._decoding)
        parts = []
        for request, tokens in chunks:
            before = self._held_tokens(request) - self._prefilling[request]
            parts.append((tokens, before))
        self._pass(self._clock.mixed(beside, self._context(), parts), 1)
        if beside:
            self._advance(1.0)
        for request, tokens in chunks:
            self._prefilling[request] -= tokens
            if self._prefilling[request] <= 0:
                self._first_token(request)
        self._make_room()

    def _decode_steps(self) -> None:
        """Steps without prompts, up to the next event."""
        ahead = self._steps_ahead()
        self._pass(ahead * self._clock.decode(len(self._decoding), self._context() + ahead / 2.0), int(ahead))
        self._advance(ahead)
        self._make_room()

    def _steps_ahead(self) -> float:
        """Decode steps until a sequence is done, a request can be taken in, or the pool may be full."""
        running = len(self._decoding)
        while not self._counts(self._ends[0]):
            heapq.heappop(self._ends)
        ahead = self._ends[0][0] - self._counter
        next_s = self.clients.next_s
        if next_s is not None and running < self._most:
            each = self._clock.decode(running, self._context())
            ahead = min(ahead, float(np.ceil((next_s + self._lag() - self._now) / each)))
        if not self._reserves and not self._fits(0.0, ahead):
            free = self._pool - (self._offsets + running * self._counter) * self._token_bytes
            ahead = min(ahead, free // (running * self._token_bytes) - self._slack_bytes // self._token_bytes)
        return max(ahead, 1.0)

    def _pass(self, seconds: float, steps: int) -> None:
        self._now += seconds
        self._step_s = seconds / steps
        self.busy_s += seconds
        self.steps += steps

    def _advance(self, steps: float) -> None:
        """Give every decoding sequence so many tokens; those that have all leave."""
        self._counter += steps
        while self._ends and (self._ends[0][0] <= self._counter or not self._counts(self._ends[0])):
            entry = heapq.heappop(self._ends)
            if self._counts(entry):
                self._offsets -= self._decoding.pop(entry[1])
                self.clients.done(entry[1], self._now)

    def _counts(self, entry: tuple[float, int]) -> bool:
        """Whether an entry of the heap is that of a sequence which decodes now."""
        end, request = entry
        return request in self._decoding and self._end[request] == end

    def _first_token(self, request: int) -> None:
        del self._prefilling[request]
        held = self._held_tokens(request)
        self._prompt_tokens_held -= held
        self.clients.first_token(request, self._now)
        if self._left[request] <= 0:
            self.clients.done(request, self._now)
            return
        self._decoding[request] = held - self._counter
        self._offsets += self._decoding[request]
        self._end[request] = self._counter + self._left[request]
        heapq.heappush(self._ends, (self._end[request], request))

    def _make_room(self) -> None:
        """Put the newest sequences back while the pool has no block for the next token of all."""
        while not self._reserves and len(self._decoding) > 1 and not self._fits(0.0, 1.0):
            request, offset = self._decoding.popitem()
            self._offsets -= offset
            made = offset + self._counter - self._prompts[request]
            self._left[request] = max(self._output[request] - 1.0 - made, 1.0)
            self._waiting.appendleft(request)
            self.preemptions += 1
