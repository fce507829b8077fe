"""Which model and weight format the name in a command line means: only what the catalog says, never a likeness."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from inferplan.api.command_line import WHERE
from inferplan.api.names import LIST_MODELS
from inferplan.api.suggest import did_you_mean, nearest
from inferplan.api.v1alpha1.scalars import REPOSITORY_PATTERN
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import Fault
from inferplan.domain.model import Checkpoint, ModelSpec, Quantization

_NOT_READ = {"bnb": "bitsandbytes", "bitsandbytes": "bitsandbytes", "gguf": "GGUF"}
"""Weight formats that vLLM has dropped (bitsandbytes after 0.25.1, GGUF after 0.22.1), by the word in a name."""
_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model of the catalog, and how its weights are stored.

    Parameters
    ----------
    repository
        What the server loads.
    pinned
        A pin of model and format means this repository and no other.
    borrowed
        Other weights than the model's: it lends them its layers, and what else is taken over is an assumption.
    note
        What was concluded and is not certain; empty if nothing.
    """

    model: ModelSpec
    quantization: Quantization
    repository: str
    pinned: bool = True
    borrowed: bool = False
    note: str = ""


def find_model(name: str, catalog: Catalog) -> FoundModel | Fault:
    """Find the model: by id or alias, by a listed checkpoint, or as a checkpoint of a listed shape; else say why not.

    A path on a disk is read by its last part, which mostly is the repository's name.
    """
    found = _named(name, catalog)
    if found is not None or _is_repository(name):
        return found or _unknown(name, catalog)
    last = name.rstrip("/").rsplit("/", 1)[-1].casefold()
    meant = [known for known in _names(catalog) if known.rsplit("/", 1)[-1].casefold() == last]
    for known in meant:
        found = _named(known, catalog)
        if isinstance(found, FoundModel):
            note = f"{name}: taken for {found.repository} in {found.quantization}, which the folder is named after"
            return replace(found, note=f"{note}; {found.note}" if found.note else note)
        if found is not None:
            return found
    return _unknown(name, catalog)


def _is_repository(name: str) -> bool:
    return name.count("/") == 1 and re.fullmatch(REPOSITORY_PATTERN, name) is not None


def _named(name: str, catalog: Catalog) -> FoundModel | Fault | None:
    """Find what a name means word for word; None if the catalog does not have it."""
    wanted = name.casefold()
    for model in catalog.models:
        for checkpoint in model.checkpoints:
            if checkpoint.repository.casefold() == wanted:
                return _checkpoint(model, checkpoint, checkpoint.repository)
    model_of_name = catalog.model(name)
    if model_of_name is not None:
        return _checkpoint(model_of_name, _published(model_of_name), name)
    alike = catalog.shaped_like(name)
    if alike is None or not _is_repository(name):
        return None
    if wanted in {other.casefold() for other in alike.same_shape_with_vision}:
        return Fault(
            WHERE,
            f"{name} has a vision tower, and the catalog only knows its language part ({alike.id}), so its memory"
            " cannot be told",
            "name a multimodal model of the catalog; `inferplan catalog list models` lists all",
        )
    stored = _published(alike).quantization
    note = (
        f"{name} is not in the catalog: layers and widths are those of {alike.id}; that it also has its weight format"
        f" ({stored}), licence and vocabulary, and takes --max-model-len, is assumed, and its quality is unknown"
    )
    return FoundModel(alike, stored, name, pinned=False, borrowed=True, note=note)


def _published(model: ModelSpec) -> Checkpoint:
    """The checkpoint that stands under the model's own name."""
    own = model.id.casefold()
    return next((c for c in model.checkpoints if c.repository.casefold() == own), model.checkpoints[0])


def _checkpoint(model: ModelSpec, checkpoint: Checkpoint, repository: str) -> FoundModel:
    alone = [c for c in model.checkpoints if c.quantization is checkpoint.quantization] == [checkpoint]
    return FoundModel(model, checkpoint.quantization, repository, pinned=alone)


def _names(catalog: Catalog) -> Iterator[str]:
    """Every name that may be given: of models and checkpoints first, then of others of their shape."""
    for model in catalog.models:
        yield from (model.id, *model.aliases, *(checkpoint.repository for checkpoint in model.checkpoints))
    for model in catalog.models:
        yield from filter(_is_repository, model.same_shape)


def _near(name: str, catalog: Catalog) -> str:
    """Suggest names of the catalog; of a folder, those whose last part is near to its own."""
    known = [name for model in catalog.models for name in (model.id, *(c.repository for c in model.checkpoints))]
    if _is_repository(name):
        return did_you_mean(name, known, LIST_MODELS)
    by_folder = {repository.rsplit("/", 1)[-1]: repository for repository in reversed(known)}
    close = nearest(name.rstrip("/").rsplit("/", 1)[-1], by_folder)
    return "did you mean " + " or ".join(f'"{by_folder[c]}"' for c in close) + "?" if close else LIST_MODELS


def _unknown(name: str, catalog: Catalog) -> Fault:
    for word in _WORDS.split(name.casefold()):
        if word in _NOT_READ:
            return Fault(
                WHERE,
                f"{name} holds {_NOT_READ[word]} weights, which this version of vLLM does not read",
                "name a repository with the weights in 16 bit, FP8, AWQ or GPTQ",
            )
    near = _near(name, catalog)
    return Fault(
        WHERE,
        f'model "{name}" is not in the catalog',
        f"{near}; for weights of your own write a scenario with model.custom, which names its base",
    )
