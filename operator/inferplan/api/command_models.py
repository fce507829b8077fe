"""Which model and weight format the name in a command line means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from inferplan.api.v1alpha1.scalars import REPOSITORY_PATTERN
from inferplan.domain.catalog import Catalog
from inferplan.domain.model import Checkpoint, ModelSpec, Quantization


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model of the catalog, and how its weights are stored.

    Parameters
    ----------
    listed
        The catalog lists the checkpoint itself, so that a pin of model and format means it.
    note
        What was concluded and is not certain; empty if nothing.
    """

    model: ModelSpec
    quantization: Quantization
    listed: bool = True
    note: str = ""


def find_model(name: str, catalog: Catalog, by_name: Callable[[str], FoundModel | str]) -> FoundModel | str:
    """Find the model: by id or alias, by a listed checkpoint, or by the words of its name; else say why not.

    A path on a disk is read by its last part, for that is mostly the repository's name.
    """
    model = catalog.model(name)
    if model is not None:
        return FoundModel(model, _published(model).quantization)
    wanted = name.casefold()
    for model in catalog.models:
        for checkpoint in model.checkpoints:
            if checkpoint.repository.casefold() == wanted:
                return _listed(model, checkpoint)
    found = by_name(name)
    if isinstance(found, str):
        return found
    if re.fullmatch(REPOSITORY_PATTERN, name) is None:
        note = f"{name}: taken for {found.model.id} in {found.quantization}"
        return FoundModel(found.model, found.quantization, note=note)
    note = f"{name}: taken for {found.model.id} in {found.quantization}, by its name"
    return FoundModel(found.model, found.quantization, listed=False, note=note)


def _published(model: ModelSpec) -> Checkpoint:
    """The checkpoint that stands under the model's own name."""
    own = model.id.casefold()
    return next((c for c in model.checkpoints if c.repository.casefold() == own), model.checkpoints[0])


def _listed(model: ModelSpec, checkpoint: Checkpoint) -> FoundModel:
    same = [c.repository for c in model.checkpoints if c.quantization is checkpoint.quantization]
    others = [repository for repository in same if repository != checkpoint.repository]
    note = "" if not others else f"{checkpoint.repository}: the plan may take {others[0]}, in the same format"
    return FoundModel(model, checkpoint.quantization, note=note)
