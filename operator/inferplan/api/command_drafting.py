"""The speculative decoding of a command line -> that of a pin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferplan.api.command_line import WHERE
from inferplan.domain.errors import Fault
from inferplan.domain.model import ModelSpec

CONFIG = "--speculative-config"
SHORT_FLAGS = {"--spec-method": "method", "--spec-model": "model", "--spec-tokens": "num_speculative_tokens"}
"""Flags of their own for keys of ``--speculative-config``."""
MOST_TOKENS = 64
_METHODS = {"ngram": "Ngram", "ngram_gpu": "Ngram", "[ngram]": "Ngram", "draft_model": "DraftModel", "mtp": "Mtp"}


def read_drafting(config: Mapping[str, Any], target: ModelSpec) -> tuple[dict[str, Any], list[str], list[Fault]]:
    """Read the keys of ``--speculative-config``.

    Returns
    -------
    tuple of dict, list of str, list of Fault
        Fields of ``speculativeDecoding``, what was left out or assumed, and what is wrong.
    """
    model, method = config.get("model"), str(config.get("method") or "")
    if not method:
        method = "ngram" if model in {"ngram", "[ngram]"} else "draft_model"
    written = "Mtp" if method.endswith("_mtp") else _METHODS.get(method)
    if written is None:
        fault = Fault(WHERE, f'speculative method "{method}" cannot be planned', "use ngram, mtp or draft_model")
        return {}, [], [fault]
    notes: list[str] = []
    faults: list[Fault] = []
    tokens = config.get("num_speculative_tokens")
    if tokens is None and written == "Mtp":
        tokens = max(1, target.mtp_layers)
        notes.append(f"{CONFIG}: no num_speculative_tokens, so as many as the model's own layers draft: {tokens}")
    if isinstance(tokens, bool) or not str(tokens).isdecimal() or not 1 <= int(str(tokens)) <= MOST_TOKENS:
        said = "needs num_speculative_tokens"
        if tokens is not None:
            said = f'num_speculative_tokens "{tokens}" is not possible'
        faults.append(Fault(WHERE, f"{CONFIG}: {said}", f"write a whole number from 1 to {MOST_TOKENS}"))
        tokens = 1
    if written == "DraftModel" and not model:
        faults.append(Fault(WHERE, f"{CONFIG}: draft_model needs a model", "name a smaller model of the same family"))
    left_out = sorted({*config} - {"method", "model", "num_speculative_tokens"})
    if left_out:
        notes.append(f"{CONFIG}: {', '.join(left_out)} left out, not planned: the engine's defaults are")
    decoding = {"method": written, "tokens": int(str(tokens))}
    return decoding | ({"model": str(model)} if written == "DraftModel" else {}), notes, faults
