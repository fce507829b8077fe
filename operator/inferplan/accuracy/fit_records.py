"""From fits to calibration records: constants by level, what they rest on, and how wrong they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.fit_engine import LEGACY_BEFORE, Checked, Generation
from inferplan.accuracy.fit_held_out import LeftOut, median_percent
from inferplan.accuracy.fit_parameters import CEILINGS, Level, Parameter
from inferplan.accuracy.matching import Case
from inferplan.domain.calibration import Calibration
from inferplan.domain.catalog import Catalog
from inferplan.domain.model import Source
from inferplan.estimate.constants import EARLIER_RATIO, KERNELS, NAMES, resolve

RELATIVES = {"Blackwell Ultra": "Blackwell"}
"""Families that were not measured and are taken for another: the same generation with more memory."""
OWN_RUNS = "runs of our own, not published"
_SUFFIX = {Generation.VLLM: "", Generation.VLLM_LEGACY: "-before-0-8", Generation.TGI: ""}
_DIGITS = 4


def records_of(checked: Checked, sources: Mapping[str, Source], fitted_on: str) -> tuple[Calibration, ...]:
    """Write a checked fit down: everywhere, by family, by GPU.

    Parameters
    ----------
    sources
        Known collections by their id; runs of others are our own.
    fitted_on
        Date.
    """
    terms = list(zip(checked.fitted.design.parameters, checked.fitted.values, strict=True))
    families = sorted({place.family for place in checked.points.places})
    gpus = sorted({(place.gpu, place.family) for place in checked.points.places})
    found = [_record(checked, "", None, None, _everywhere(terms), lambda _: True, sources, fitted_on)]
    found[0] = replace(found[0], ranges=checked.ranges, assumed=_untouched(terms))
    for family in families:
        constants = _deviating(terms, family, None)
        of_family = _record(checked, family, None, family, constants, _in_family(family), sources, fitted_on)
        found.append(of_family)
        relatives = [other for other, known in RELATIVES.items() if known == family]
        found.extend(_relative(of_family, other, _identifier(checked, other)) for other in relatives)
    for gpu, family in gpus:
        constants = _deviating(terms, family, gpu)
        found.append(_record(checked, gpu, gpu, None, constants, _on_gpu(gpu), sources, fitted_on))
    return tuple(found)


_Terms = Sequence[tuple[Parameter, float]]


def _sum(terms: _Terms, name: str, *levels: tuple[Level, str]) -> float:
    return sum(float(value) for p, value in terms if p.name == name and (p.level, p.key) in levels)


def _figure(name: str, logarithm: float) -> float:
    value = min(exp(logarithm), float(CEILINGS[NAMES.index(name)]))
    return float(f"{value:.{_DIGITS}g}")


def _kernels(terms: _Terms, name: str) -> list[str]:
    return [p.key for p, _ in terms if p.name == name and p.level is Level.KERNEL]


def _everywhere(terms: _Terms) -> dict[str, float]:
    """Constants everywhere, of kernels, and the ratios of earlier releases."""
    found: dict[str, float] = {}
    for name in NAMES:
        base = _sum(terms, name, (Level.EVERYWHERE, ""))
        found[name] = _figure(name, base)
        for kernel in _kernels(terms, name):
            found[f"{name}_{kernel}"] = _figure(name, base + _sum(terms, name, (Level.KERNEL, kernel)))
    for parameter, value in terms:
        earlier = _sum(terms, parameter.name, (Level.EARLIER, ""))
        if parameter.level is Level.EARLIER:
            found[f"{parameter.name}_{EARLIER_RATIO}"] = float(f"{exp(value):.{_DIGITS}g}")
        elif parameter.level is Level.EARLIER_KERNEL:
            ratio = float(f"{exp(value + earlier):.{_DIGITS}g}")
            found[f"{parameter.name}_{parameter.key}_{EARLIER_RATIO}"] = ratio
    return found


def _deviating(terms: _Terms, family: str, gpu: str | None) -> dict[str, float]:
    """Constants of a family, or of a GPU, that have a term of their own."""
    level, key = (Level.FAMILY, family) if gpu is None else (Level.GPU, gpu)
    own = [(Level.EVERYWHERE, ""), (Level.FAMILY, family), *([] if gpu is None else [(Level.GPU, gpu)])]
    found: dict[str, float] = {}
    for name in dict.fromkeys(p.name for p, _ in terms if p.level is level and p.key == key):
        found[name] = _figure(name, _sum(terms, name, *own))
        for kernel in _kernels(terms, name):
            found[f"{name}_{kernel}"] = _figure(name, _sum(terms, name, *own, (Level.KERNEL, kernel)))
    return found


def own_records(
    checked: Checked, known: Catalog, sources: Mapping[str, Source], fitted_on: str
) -> tuple[Calibration, ...]:
    """Write down how measured GPUs deviate from a catalog's calibration: one record for each, in place of ours."""
    terms = list(zip(checked.fitted.design.parameters, checked.fitted.values, strict=True))
    release = (0, 7) if checked.generation is Generation.VLLM_LEGACY else None
    found = []
    for gpu in sorted({place.gpu for place in checked.points.places}):
        spec = known.gpu(gpu)
        constants: dict[str, float] = {}
        if spec is None:  # pragma: no cover - cases come from this catalog
            continue
        for kernel in KERNELS:
            resolved = resolve(known.calibrations, checked.generation.engine, spec, kernel, release=release)
            for name in dict.fromkeys(p.name for p, _ in terms if p.key == gpu):
                value = _figure(name, log(getattr(resolved.constants, name)) + _sum(terms, name, (Level.GPU, gpu)))
                plain = constants.setdefault(name, value)
                if value != plain:
                    constants[f"{name}_{kernel}"] = value
        record = _record(checked, gpu, gpu, None, constants, _on_gpu(gpu), sources, fitted_on)
        found.append(replace(record, ranges=checked.ranges))
    return tuple(found)


def _untouched(terms: _Terms) -> tuple[str, ...]:
    """Constants that no run pulled anywhere: they are what was assumed."""
    moved = {p.name for p, value in terms if p.level is Level.EVERYWHERE and abs(value - p.start) > 1e-4}  # noqa: PLR2004 - nothing
    return tuple(sorted(set(NAMES) - moved))


def _in_family(family: str) -> Callable[[Case], bool]:
    return lambda case: case.gpu.family == family


def _on_gpu(gpu: str) -> Callable[[Case], bool]:
    return lambda case: case.gpu.id == gpu


def _identifier(checked: Checked, part: str) -> str:
    engine = f"{checked.generation.engine}{_SUFFIX[checked.generation]}"
    return f"{engine}-{part.casefold().replace(' ', '-')}" if part else engine


def _record(
    checked: Checked,
    part: str,
    gpu: str | None,
    family: str | None,
    constants: dict[str, float],
    holds: Callable[[Case], bool],
    sources: Mapping[str, Source],
    fitted_on: str,
) -> Calibration:
    chosen = np.array([holds(case) for case in checked.points.cases], dtype=np.bool_)
    of_record = [case for case in checked.points.cases if holds(case)]
    legacy = checked.generation is Generation.VLLM_LEGACY
    return Calibration(
        id=_identifier(checked, part),
        engine=checked.generation.engine,
        gpu=gpu,
        family=family,
        constants=tuple(constants.items()),
        before=".".join(map(str, LEGACY_BEFORE)) if legacy else "",
        engine_versions=_releases(of_record),
        runs=len(of_record),
        fitted_on=fitted_on,
        error_in_sample_percent=tuple(median_percent(checked.in_sample, chosen).items()),
        error_out_of_sample_percent=_left_out(checked, chosen),
        sources=_sources(of_record, sources, fitted_on),
    )


def _left_out(checked: Checked, chosen: NDArray[np.bool_]) -> tuple[tuple[str, float], ...]:
    return tuple(
        (f"{metric}_{of.value}", percent)
        for of in LeftOut
        if of in checked.left_out
        for metric, percent in median_percent(checked.left_out[of], chosen).items()
    )


def _releases(cases: Sequence[Case]) -> tuple[str, ...]:
    found = {case.run.engine_version or "not stated" for case in cases}
    return tuple(sorted(found))


def _sources(cases: Sequence[Case], known: Mapping[str, Source], fitted_on: str) -> tuple[Source, ...]:
    own = Source(("constants", "ranges", "errors"), OWN_RUNS, fitted_on)
    return tuple(
        dict.fromkeys(
            known.get(source) or (replace(own, title=f"{OWN_RUNS}: {source}") if source else own)
            for source in sorted({case.run.source_id for case in cases})
        )
    )


def _relative(record: Calibration, family: str, identifier: str) -> Calibration:
    return replace(
        record,
        id=identifier,
        family=family,
        runs=0,
        assumed=tuple(sorted(dict(record.constants))),
        error_in_sample_percent=(),
        error_out_of_sample_percent=(),
    )
