"""Files of scenarios: YAML or JSON text in, scenarios with their lines out, all faults at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inferplan.api.faults import place, shape_faults, split_path
from inferplan.api.suggest import nearest
from inferplan.api.v1alpha1 import API_VERSION, GROUP, KIND, InferenceScenario
from inferplan.api.yaml_scalars import shorten
from inferplan.api.yaml_tree import Node, parse_trees, read_bytes
from inferplan.domain.errors import Fault, InputError


@dataclass(frozen=True, slots=True)
class ScenarioDocument:
    """A scenario as it stands in a file."""

    resource: InferenceScenario
    origin: str
    node: Node

    def locate(self, path: str) -> str:
        """Name the place of a field: ``chatbot.yaml:12: spec.slo.percentile``."""
        return place(self.origin, self.node, split_path(path))


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """What a file holds: scenarios, and notices about what was passed over."""

    scenarios: tuple[ScenarioDocument, ...]
    notices: tuple[str, ...] = ()


def read_scenario_file(path: Path) -> ScenarioFile:
    """Read a file of scenarios; see :func:`read_scenarios`.

    Raises
    ------
    InputError
        If the file cannot be read, or with every fault in it.
    """
    return read_scenarios(read_bytes(path), str(path))


def read_scenarios(data: bytes | str, origin: str) -> ScenarioFile:
    r"""Read the scenarios of a YAML or JSON text.

    Documents of other kinds are passed over with a notice; a ``List`` is opened.

    Parameters
    ----------
    data
        The text.
    origin
        Name of the file, for faults.

    Raises
    ------
    InputError
        With every fault of shape in the text, each with its line.

    Examples
    --------
    >>> text = "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: chat}\n"
    >>> read_scenarios(text + "spec: {useCase: Chatbot}", "chat.yaml").scenarios[0].resource.metadata.name
    'chat'
    """
    faults: list[Fault] = []
    notices: list[str] = []
    found: list[ScenarioDocument] = []
    for node in opened_documents(parse_trees(data, origin)):
        outcome = _one(node, origin)
        if isinstance(outcome, ScenarioDocument):
            found.append(outcome)
        elif isinstance(outcome, str):
            notices.append(outcome)
        else:
            faults.extend(outcome)
    faults.extend(_same_names(found))
    if not found and not faults:
        passed = f" ({'; '.join(notices)})" if notices else ""
        faults.append(Fault(origin, f"no {KIND} in it{passed}", f"start with apiVersion: {API_VERSION}"))
    if faults:
        raise InputError(faults)
    return ScenarioFile(tuple(found), tuple(notices))


def read_resource(body: Mapping[str, Any]) -> InferenceScenario:
    """Read a scenario as an API server has it: no file and no lines, and perhaps written under an older schema.

    Raises
    ------
    InputError
        With every fault of shape, each with its path.
    """
    try:
        return InferenceScenario.model_validate(body)
    except ValidationError as error:
        nowhere = Node(0)
        prefix = place("", nowhere, ("",)) + ": "
        faults = shape_faults(error, nowhere, "")
        raise InputError(replace(fault, where=fault.where.removeprefix(prefix)) for fault in faults) from error


def opened_documents(trees: tuple[Node, ...]) -> Iterator[Node]:
    """Yield documents one by one, opening lists as ``kubectl get -o yaml`` prints them."""
    for tree in trees:
        kind, items = tree.get("kind"), tree.get("items")
        if kind is not None and kind.scalar == "List" and items is not None and items.items is not None:
            yield from items.items
        else:
            yield tree


def _one(node: Node, origin: str) -> ScenarioDocument | str | list[Fault]:
    """Read one document: a scenario, a notice about another kind, or faults."""
    if node.fields is None:
        return [Fault(f"{origin}:{node.line}", "must be a group of fields (apiVersion, kind, metadata, spec)")]
    kind, version = _text(node, "kind"), _text(node, "apiVersion")
    ours = version is not None and version.split("/")[0].casefold() == GROUP
    if kind == KIND and version == API_VERSION:
        return _scenario(node, origin)
    if kind is not None and kind != KIND and not ours and not (nearest(kind, [KIND]) and len(kind) > len(KIND) // 2):
        name = _text(node, "metadata", "name")
        titled = f"{shorten(kind)} {shorten(name)}" if name else shorten(kind)
        return f"{origin}:{node.line}: {titled} passed over: not an {KIND}"
    faults = []
    if version != API_VERSION:
        faults.append(_wrong(node, origin, "apiVersion", API_VERSION))
    if kind != KIND:
        faults.append(_wrong(node, origin, "kind", KIND))
    return faults


def _wrong(node: Node, origin: str, field: str, expected: str) -> Fault:
    found = node.get(field)
    if found is None:
        return Fault(place(origin, node, (field,)), "required, but missing", f"write {field}: {expected}")
    shown = f'"{shorten(str(found.scalar))}"' if found.scalar is not None else "this"
    return Fault(place(origin, node, (field,)), f"{shown} is not known", f'did you mean "{expected}"?')


def _text(node: Node, *names: str) -> str | None:
    found = node.get(*names)
    return found.scalar if found is not None and isinstance(found.scalar, str) else None


def _scenario(node: Node, origin: str) -> ScenarioDocument | list[Fault]:
    try:
        resource = InferenceScenario.model_validate(node.plain())
    except ValidationError as error:
        return shape_faults(error, node, origin)
    return ScenarioDocument(resource, origin, node)


def _same_names(found: list[ScenarioDocument]) -> Iterator[Fault]:
    """Refuse two scenarios of one name: the second would replace the first in a cluster."""
    first: dict[tuple[str | None, str], ScenarioDocument] = {}
    for document in found:
        metadata = document.resource.metadata
        earlier = first.setdefault((metadata.namespace, metadata.name), document)
        if earlier is not document:
            where = document.locate("metadata.name")
            yield Fault(where, f'"{metadata.name}" stands twice', f"first in line {earlier.node.line}")
