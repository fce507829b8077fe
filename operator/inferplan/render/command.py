"""What a container runs: the engine's command line, the user's own flags at its end."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.domain.errors import Fault
from inferplan.domain.flags import Command, FlagList
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.render.batch import BatchRun
from inferplan.render.extra_args import extra_arguments
from inferplan.render.flags import (
    Argument,
    tgi_flags,
    vllm_batch_flags,
    vllm_local_flags,
    vllm_server_flags,
)
from inferplan.render.timing import Timing


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Command and arguments of a container; an empty ``first`` leaves the image's own entry point."""

    first: tuple[str, ...]
    words: tuple[str, ...]


def command_line(
    plan: Plan, scenario: Scenario, times: Timing, known: FlagList, batch: BatchRun | None
) -> tuple[CommandLine, tuple[Fault, ...]]:
    """Put the command line of a plan's engine together, and say what is wrong with the user's part of it."""
    model = plan.configuration.checkpoint.repository
    first: tuple[str, ...] = ("vllm", "serve")
    leading: tuple[str, ...] = (model,)
    command = Command.SERVER
    if known.engine == "tgi":
        first, leading = (), ()
        own = tuple(tgi_flags(plan, times))
    elif batch is None:
        own = tuple(vllm_server_flags(plan, scenario, times))
    elif batch.classifies:
        own = tuple(vllm_local_flags(plan, scenario))
    else:
        first, leading, command = ("vllm", "run-batch"), (), Command.BATCH
        own = tuple(vllm_batch_flags(plan, scenario))
    extra, faults = extra_arguments(
        scenario.engine.extra_args, known, own, remote_code=scenario.engine.remote_code, command=command
    )
    words = (*leading, *_words(own), *_words(extra))
    if batch is not None:
        driven = batch.driven((*first, *words), plan.configuration.engine.image, times)
        return CommandLine(driven[:1], driven[1:]), faults
    return CommandLine(first, words), faults


def _words(arguments: tuple[Argument, ...]) -> tuple[str, ...]:
    return tuple(word for argument in arguments for word in argument.words)
