"""YAML text to trees that remember their lines; nothing is executed, expanded without bound, or guessed.

Scalars follow what ``kubectl`` reads, so a file means the same here and in the cluster: no sexagesimal
numbers (``1:30`` stays text) and no dates. JSON is YAML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from inferplan.api.yaml_scalars import Scalar, has_leading_zero, has_surrogates, resolve_scalar, shorten
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.units import MIB

MAXIMUM_FILE_BYTES = MIB
MAXIMUM_DEPTH = 60
MAXIMUM_NODES = 2_000_000
MAXIMUM_ALIASED_NODES = 20_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
Value = Scalar | list["Value"] | dict[str, "Value"]
FieldPath = tuple[str | int, ...]


@dataclass(slots=True)
class Node:
    """A value with the line it stands on: a scalar, a list of nodes, or a mapping of names to nodes."""

    line: int
    scalar: Scalar = None
    items: list[Node] | None = None
    fields: dict[str, Node] | None = None
    key_lines: dict[str, int] = field(default_factory=dict)
    size: int = 1
    """Nodes under it, itself included."""

    def plain(self) -> Value:
        """Return the value without its lines."""
        if self.items is not None:
            return [item.plain() for item in self.items]
        if self.fields is not None:
            return {key: item.plain() for key, item in self.fields.items()}
        return self.scalar

    def line_of(self, path: FieldPath) -> int:
        """Return the line of the deepest part of a path that exists."""
        node, line = self, self.line
        for part in path:
            if isinstance(part, str) and node.fields is not None and part in node.fields:
                line = node.key_lines.get(part, line)
                node = node.fields[part]
            elif isinstance(part, int) and node.items is not None and 0 <= part < len(node.items):
                node = node.items[part]
                line = node.line
            else:
                break
        return line

    def get(self, *names: str) -> Node | None:
        """Return the node at a path of names, or None."""
        node: Node | None = self
        for name in names:
            node = node.fields.get(name) if node is not None and node.fields is not None else None
        return node


def read_bytes(path: Path, limit: int = MAXIMUM_FILE_BYTES) -> bytes:
    """Read a file that a person named.

    Parameters
    ----------
    path
        The file.
    limit
        Largest size that is read [bytes].

    Raises
    ------
    InputError
        If it cannot be read or is larger than the limit.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise InputError([Fault(str(path), "no such file")]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError([Fault(str(path), f"cannot be read: {reason}")]) from error
    return data


def parse_trees(data: bytes | str, origin: str, limit: int = MAXIMUM_FILE_BYTES) -> tuple[Node, ...]:
    r"""Parse YAML (or JSON) into one tree per document; empty documents are left out.

    Parameters
    ----------
    data
        Text, or bytes in UTF-8.
    origin
        File name for the faults.
    limit
        Largest size that is accepted [bytes].

    Raises
    ------
    InputError
        With one fault if the text is no YAML, is too large or too deep; with all duplicate keys otherwise.

    Examples
    --------
    >>> [tree.plain() for tree in parse_trees("a: 1\nb: [x, 1:30]", "example")]
    [{'a': 1, 'b': ['x', '1:30']}]
    """
    if len(data) > limit:
        raise InputError([Fault(origin, f"larger than {limit // MIB} MiB", "split the file")])
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError([Fault(origin, f"not UTF-8 text (byte {error.start})")]) from error
    else:
        text = data
    builder = _Builder(origin)
    try:
        trees = tuple(builder.documents(yaml.parse(text, Loader=_LOADER)))
    except yaml.MarkedYAMLError as error:
        raise InputError([_syntax_fault(error, origin)]) from error
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        raise InputError(
            [Fault(origin, f"not YAML: {str(error).splitlines()[0] if str(error) else 'unreadable'}")]
        ) from error
    if builder.faults:
        raise InputError(builder.faults)
    return trees


def _syntax_fault(error: yaml.MarkedYAMLError, origin: str) -> Fault:
    """Say in one line what is wrong with the text and where."""
    mark = error.problem_mark or error.context_mark
    where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark is not None else origin
    problem = error.problem or "cannot be read"
    context = f" {error.context}" if error.context else ""
    hint = "indent with blanks" if "'\\t'" in problem else ""
    return Fault(where, f"not YAML: {problem}{context}", hint)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


class _Builder:
    """Builds trees from parser events, within bounds."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.faults: list[Fault] = []
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()
        self._nodes = 0
        self._aliased = 0

    def documents(self, events: Iterator[yaml.Event]) -> Iterator[Node]:
        """Yield one tree per document that is not empty."""
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors, self._open = {}, set()
            elif isinstance(event, yaml.NodeEvent):
                node = self._node(event, events, 0)
                if node.items is not None or node.fields is not None or node.scalar is not None:
                    yield node

    def _refuse(self, line: int, problem: str, fix: str = "") -> InputError:
        """Make the error that ends reading at once."""
        return InputError([Fault(f"{self.origin}:{line}", problem, fix)])

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        line = _line(event)
        self._nodes += 1
        if depth > MAXIMUM_DEPTH or self._nodes > MAXIMUM_NODES:
            raise self._refuse(line, "nested too deeply or too large to be meant")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._open.add(anchor)
        if isinstance(event, yaml.ScalarEvent):
            node = Node(line, scalar=self._scalar(event, line))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(events, line, depth)
        else:
            node = self._mapping(events, line, depth)
        if anchor is not None:
            self._open.discard(anchor)
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent, line: int) -> Node:
        target = self._anchors.get(event.anchor or "")
        if target is None or event.anchor in self._open:
            raise self._refuse(line, f"alias *{event.anchor} refers to nothing before it")
        self._aliased += target.size
        if self._aliased > MAXIMUM_ALIASED_NODES:
            raise self._refuse(line, "aliases expand beyond any sensible size", "write the values out")
        return target

    def _sequence(self, events: Iterator[yaml.Event], line: int, depth: int) -> Node:
        items: list[Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, depth + 1))
        return Node(line, items=items, size=1 + sum(item.size for item in items))

    def _mapping(self, events: Iterator[yaml.Event], line: int, depth: int) -> Node:
        fields: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key_line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(key_line, "a field name must be plain text")
            key = event.value
            if key == "<<" and event.implicit[0]:
                raise self._refuse(key_line, "merge keys (<<) are not supported", "write the fields out")
            if has_surrogates(key):
                raise self._refuse(key_line, "text with broken characters (lone surrogates)")
            node = self._node(next(events), events, depth + 1)
            if key in fields:
                self.faults.append(
                    Fault(
                        f"{self.origin}:{key_line}",
                        f'"{shorten(key)}" stands twice',
                        f"first in line {lines[key]}",
                    )
                )
            else:
                fields[key], lines[key] = node, key_line
        return Node(line, fields=fields, key_lines=lines, size=1 + sum(item.size for item in fields.values()))

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Scalar:
        text = event.value
        if has_surrogates(text):
            raise self._refuse(line, "text with broken characters (lone surrogates)")
        tag = event.tag
        if tag in {None, "!"} or event.implicit[0] or event.implicit[1]:
            return self._resolved(text, line) if event.implicit[0] else text
        if tag == f"{_TAG}str":
            return text
        if tag in {f"{_TAG}{name}" for name in ("int", "float", "bool", "null")}:
            return self._resolved(text, line)
        raise self._refuse(line, f"tag {shorten(str(tag))} is not supported", "write plain values")

    def _resolved(self, text: str, line: int) -> Scalar:
        if has_leading_zero(text):
            unsigned = text.lstrip("-+")
            decimal = text.removesuffix(unsigned) + (unsigned.lstrip("0") or "0")
            fix = f'write {decimal} for the number, or "{text}" in quotes for the text'
            self.faults.append(Fault(f"{self.origin}:{line}", f"{text} is octal in YAML for its leading zero", fix))
        return resolve_scalar(text)
