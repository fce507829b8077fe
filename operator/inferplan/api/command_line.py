"""A copied line that starts vLLM -> the words that the engine gets: shell, container and wrappers taken off.

Lines come from chats, READMEs and terminals: with prompts, continued lines, variables, ``docker run`` around them and
redirections behind. Nothing is ever run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inferplan.domain.errors import Fault, InputError

WHERE = "--from-command"
MODULES = frozenset({"vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server"})

_TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " "})
_LONG_DASH = re.compile(r"(?<!\S)[–—](?=[a-z])")
_PROMPT = re.compile(r"^[ \t]*(?:\$|>|%|PS>|#(?=\s*(?:vllm|docker|podman|python3?|sudo|nohup)\b))[ \t]+", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
_CONTINUED = re.compile(r"[\\^`][ \t]*\r?\n")
_STREAM = re.compile(r"(?<=\s)[012](?=>)")
_PLACEHOLDER = re.compile(r"<([A-Za-z][\w .-]*)>")
_LOST_NEWLINE = re.compile(r"\\[ \t]+(?=\S)")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
_SEPARATORS = frozenset({";", "&&", "||", "|", "&", "(", ")", ";;"})
_WRAPPERS = frozenset({"sudo", "nohup", "exec", "time", "env", "command", "export", "set"})
_SHELLS = frozenset({"bash", "sh", "zsh"})
_CONTAINER_TOOLS = frozenset({"docker", "podman", "nerdctl"})
_CONTAINER_SWITCHES = frozenset(
    {"-d", "-i", "-t", "-it", "-ti", "-dit", "-itd", "-dti", "--rm", "--init", "--privileged", "--detach", "--tty"}
    | {"--interactive", "--read-only", "--no-healthcheck", "--oom-kill-disable", "-P", "--publish-all"}
)


@dataclass(frozen=True, slots=True)
class EngineLine:
    """What the engine gets.

    Parameters
    ----------
    words
        The model and the flags.
    image
        Container image that it starts in; empty if none is named.
    variables
        Names of environment variables that are set for it, without their values: some are secrets.
    container
        Whether a container tool starts it, whose own options say nothing about the engine.
    """

    words: tuple[str, ...]
    image: str = ""
    variables: tuple[str, ...] = ()
    container: bool = False


def read_engine_line(text: str) -> EngineLine:
    r"""Find the start of vLLM in a copied text.

    Raises
    ------
    InputError
        If the text cannot be read, or starts no vLLM server.

    Examples
    --------
    >>> read_engine_line("$ HF_TOKEN=x vllm serve Qwen/Qwen3-8B \\\n    -tp 2 > log 2>&1 &").words
    ('Qwen/Qwen3-8B', '-tp', '2')
    """
    known: dict[str, str] = {}
    for statement in _statements(_cleaned(text)):
        found = _engine_line(_Statement(statement, known))
        if found is not None:
            _refuse_variables(found.words)
            return found
    raise InputError(
        [
            Fault(
                WHERE,
                "starts no vLLM server",
                "paste a line such as `vllm serve MODEL --max-model-len 8192`, `python -m"
                " vllm.entrypoints.openai.api_server --model MODEL` or `docker run … vllm/vllm-openai --model MODEL`",
            )
        ]
    )


def _cleaned(text: str) -> str:
    """Undo what copying does: typographic quotes and dashes, prompts, comments, continued lines."""
    text = _LONG_DASH.sub("--", text.translate(_TYPOGRAPHY))
    text = _STREAM.sub("", _PLACEHOLDER.sub(r"\1", _COMMENT.sub("", _PROMPT.sub("", text))))
    return _LOST_NEWLINE.sub(" ", _CONTINUED.sub(" ", text).rstrip().removesuffix("\\"))


def _statements(text: str) -> Iterator[list[str]]:
    """Cut a text into commands; a line that goes on with a flag belongs to the one before."""
    lexer = shlex.shlex(_ended(text), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    statement: list[str] = []
    try:
        words = list(lexer)
    except ValueError as error:
        raise InputError([Fault(WHERE, f"cannot be read: {str(error).lower()}", "check its quotes")]) from error
    for word in words:
        if word in _SEPARATORS:
            yield statement
            statement = []
        else:
            statement.append(word)
    yield statement


def _ended(text: str) -> str:
    """Write line ends that end a command as ``;``."""
    found, quote = [], ""
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        ends = sign == "\n" and not quote and not text[at:].lstrip().startswith(("-", "{"))
        found.append(" ; " if ends else sign)
    return "".join(found)


@dataclass(slots=True)
class _Statement:
    """One command, its variables put in."""

    words: list[str]
    known: dict[str, str]
    variables: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.words = [_filled(word, self.known) for word in _before_redirection(self.words)]
        self._strip()

    def _strip(self) -> None:
        """Take off wrappers and assignments; later commands know what is assigned."""
        while self.words:
            if _ASSIGNMENT.match(self.words[0]):
                name, _, value = self.words.pop(0).partition("=")
                self.known[name] = value
                self.variables.append(name)
                self.words = [_filled(word, self.known) for word in self.words]
            elif self.words[0] in _WRAPPERS:
                self.words.pop(0)
            elif self.words[:2] == ["uv", "run"]:
                del self.words[:2]
            else:
                return


def _before_redirection(words: Sequence[str]) -> list[str]:
    for at, word in enumerate(words):
        if word and not set(word) - set("<>&"):
            return list(words[:at])
    return list(words)


def _filled(word: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        braced, otherwise, bare = found.groups()
        return known.get(braced or bare, found[0] if otherwise is None else otherwise)

    return _VARIABLE.sub(value, word)


def _engine_line(statement: _Statement) -> EngineLine | None:
    """Read one command; None if it starts no vLLM server."""
    words, variables = statement.words, tuple(statement.variables)
    if not words:
        return None
    if words[0] in _CONTAINER_TOOLS and "run" in words:
        return _contained(words[words.index("run") + 1 :], variables)
    if words[0].rsplit("/", 1)[-1] in _SHELLS and "-c" in words[:-1]:
        inner = words[words.index("-c") + 1]
        return _first(_engine_line(_Statement(part, statement.known)) for part in _statements(_cleaned(inner)))
    served = _served(words)
    return None if served is None else EngineLine(served, variables=variables)


def _first(found: Iterator[EngineLine | None]) -> EngineLine | None:
    return next((one for one in found if one is not None), None)


def _served(words: Sequence[str]) -> tuple[str, ...] | None:
    """Words behind ``vllm serve`` or the module that does the same; None if neither is there."""
    for at, word in enumerate(words):
        name, following = word.rsplit("/", 1)[-1], words[at + 1 : at + 2]
        if name == "vllm" and list(following) == ["serve"]:
            return tuple(words[at + 2 :])
        if word == "-m" and following and following[0] in MODULES:
            return tuple(words[at + 2 :])
    bare = words[0] == "serve" or any(word.partition("=")[0] == "--model" for word in words)
    if bare and (words[0] == "serve" or words[0].startswith("-")):
        return tuple(words[1:] if words[0] == "serve" else words)
    return None


def _contained(words: Sequence[str], variables: tuple[str, ...]) -> EngineLine | None:
    """Read what stands behind ``docker run``: its options, the image, and what the image is given."""
    names, entry, at = list(variables), "", 0
    while at < len(words) and words[at].startswith("-"):
        option, joined, value = words[at].partition("=")
        alone = option in _CONTAINER_SWITCHES
        if not joined and not alone:
            value = words[at + 1] if at + 1 < len(words) else ""
        if option in {"-e", "--env"}:
            names.append(value.partition("=")[0])
        elif option == "--entrypoint":
            entry = value
        at += 1 if joined or alone else 2
    if at >= len(words):
        return None
    image, given = words[at], list(words[at + 1 :])
    command = [*entry.split(), *given] if entry else given
    inner = _engine_line(_Statement(command, {})) if command else None
    if inner is None and "vllm" in image.casefold() and not entry:
        inner = EngineLine(tuple(given))
    if inner is None:
        return None
    return EngineLine(inner.words, image, (*names, *inner.variables), container=True)


def _refuse_variables(words: Sequence[str]) -> None:
    """Refuse what only the shell that the line was written for knows."""
    unknown = dict.fromkeys(found[0] for word in words for found in _VARIABLE.finditer(word))
    if unknown:
        raise InputError([Fault(WHERE, f"{name} has no value here", "write the value itself") for name in unknown])
