"""Nearest names, for messages that help."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

LISTED = 12
"""Up to so many names are listed in full."""


@functools.lru_cache(maxsize=4_096)
def _key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` known names that ``name`` may have meant, the nearest first.

    >>> nearest("percentil", ["percentile", "slo"])
    ['percentile']
    >>> nearest("Llama-2-7b", ["meta-llama/Llama-2-7b-chat-hf", "Qwen/Qwen3-8B"])
    ['meta-llama/Llama-2-7b-chat-hf']
    """
    by_key: dict[str, str] = {}
    for candidate in sorted(set(known)):
        by_key.setdefault(_key(candidate), candidate)
    wanted = _key(name)
    close = difflib.get_close_matches(wanted, list(by_key), n=count, cutoff=0.6)
    if len(wanted) > 1:
        close += [key for key in by_key if wanted in key and key not in close]
    return [by_key[key] for key in close[:count]]


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return ``did you mean "…"?``, or what is allowed if little is, or what else helps.

    Parameters
    ----------
    otherwise
        What to say if no known name is near and there are too many to list.

    >>> did_you_mean("Chatbott", ["Chatbot", "Custom"])
    'did you mean "Chatbot"?'
    >>> did_you_mean("zzz", ["Chatbot", "Custom"])
    'allowed: Chatbot, Custom'
    >>> did_you_mean("zzz", map(str, range(99)), "try `inferplan catalog list gpus`")
    'try `inferplan catalog list gpus`'
    """
    names = sorted(set(known))
    close = nearest(name, names)
    if close:
        return "did you mean " + " or ".join(f'"{item}"' for item in close) + "?"
    return f"allowed: {', '.join(names)}" if 0 < len(names) <= LISTED else otherwise
