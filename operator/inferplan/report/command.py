"""What is to be said about a server that somebody already has a command for."""

from __future__ import annotations

from collections.abc import Iterator

from inferplan.domain.model import Task
from inferplan.domain.plan import Outcome, Plan
from inferplan.domain.reasons import REASON_TEXT
from inferplan.report import numbers
from inferplan.report.outline import Section


def verdict(
    outcome: Outcome, crowded: Outcome | None, notes: tuple[str, ...], *, electricity_only: bool = False
) -> Section:
    """Say whether the server starts, what fits, how fast it is and what it costs; then what was made of the command.

    Parameters
    ----------
    outcome, crowded
        The plan for one user, and for as many as run at once.
    notes
        What was left out, replaced or assumed.
    electricity_only
        No price of the GPU is known, so that the cost is that of its electricity.
    """
    plan = outcome.chosen
    if plan is None:
        said = _no(outcome)
    else:
        said = _yes(outcome, plan, None if crowded is None else crowded.chosen, electricity_only=electricity_only)
    return Section("The command", points=tuple(said), notes=notes)


def _no(outcome: Outcome) -> Iterator[str]:
    found = outcome.infeasibility
    if found is None:
        return
    for code in found.binding:
        entry = next((one for one in found.evidence if one.code is code), None)
        figures = ""
        if entry is not None and entry.limit is not None and entry.actual is not None:
            figures = f" ({numbers.against(entry.actual, entry.limit, entry.unit)})"
        yield f"❌ does not run as it stands: {REASON_TEXT[code]}{figures}"


def _yes(outcome: Outcome, plan: Plan, crowded: Plan | None, *, electricity_only: bool) -> Iterator[str]:
    chosen, memory = plan.configuration, plan.estimate.memory
    filled = f"{numbers.memory(memory)} of each GPU are used at the batch limit"
    if chosen.is_deployable:
        yield f"✅ starts: {filled}"
    else:
        yield f"⚠️ fits, but cannot be deployed yet: a replica spans {chosen.pp_size} machines; {filled}"
    yield f"longest context that fits: {memory.longest_context_tokens:,} tokens; asked for: {chosen.max_model_len:,}"
    full = memory.full_length_sequences
    yield f"sequences of {chosen.max_model_len:,} tokens that fit at once: {full:.1f} of {chosen.max_num_seqs} allowed"
    if outcome.scenario.task is Task.GENERATION:
        yield f"one user alone: {numbers.speed(plan.estimate)}"
        if crowded is not None:
            users = round(crowded.estimate.running_batch * chosen.replicas)
            yield (
                f"{users} running at once: {numbers.speed(crowded.estimate)} for each,"
                f" {numbers.throughput(crowded.estimate)} together"
            )
    else:
        yield f"at most {numbers.throughput(plan.estimate)}"
    what = "electricity alone" if electricity_only else "cost"
    yield f"{what}: {numbers.usd(plan.cost.per_hour)} per hour, {numbers.usd(plan.cost.per_month)} per month"
