"""``inferplan catalog``: what is known about the world, and whether it can be trusted."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

import typer

from inferplan.api.suggest import did_you_mean
from inferplan.cli.options import Output, Overlay
from inferplan.cli.output import Format, write_data, write_reports
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.hardware import Offering
from inferplan.domain.model import Dtype, ModelSpec
from inferplan.report.numbers import gigabytes, number, usd
from inferplan.report.outline import Report, Section, Table

app = typer.Typer(
    help="Look into the catalog: models, GPUs, prices, engines, presets.",
    epilog="Examples: `inferplan catalog list gpus`, `inferplan catalog show h100-80gb-sxm`, "
    "`inferplan catalog check --catalog my-catalog/`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

BAD_CATALOG = 2


class Kind(enum.StrEnum):
    """What can be listed."""

    MODELS = "models"
    GPUS = "gpus"
    OFFERINGS = "offerings"
    ENGINES = "engines"
    METHODS = "methods"
    PRESETS = "presets"
    LEVELS = "levels"
    CALIBRATION = "calibration"


@app.command(epilog="Examples: `inferplan catalog check`, `inferplan catalog check --catalog my-catalog/`")
def check(
    catalog: Overlay = None,
) -> None:
    """Verify every record, ours and yours laid over it; report every fault with file and record."""
    from inferplan.catalog import check_catalog, load_catalog

    faults = check_catalog(catalog)
    for fault in faults:
        typer.echo(f"{typer.style('error', fg='red')}: {fault}", err=True)
    if faults:
        typer.echo(f"{len(faults)} faults", err=True)
        raise typer.Exit(BAD_CATALOG)
    known = load_catalog(catalog)
    typer.echo(
        f"{len(known.models)} models, {len(known.gpus)} GPUs, {len(known.offerings)} offerings, "
        f"{len(known.engines)} engines, {len(known.methods)} quantization methods, "
        f"{len(known.calibrations)} calibrations: no faults"
    )


@app.command("list", epilog="Examples: `inferplan catalog list gpus`, `inferplan catalog list models -m qwen -o json`")
def list_(
    kind: Annotated[Kind, typer.Argument(case_sensitive=False, help="What to list.")],
    match: Annotated[str, typer.Option("--match", "-m", help="Only records that contain this text.")] = "",
    output: Output = Format.TABLE,
    catalog: Overlay = None,
) -> None:
    """List records of one kind."""
    from inferplan.catalog import load_catalog

    table = _tables(load_catalog(catalog))[kind]
    rows = tuple(row for row in table.rows if match.casefold() in " ".join(row).casefold())
    if output in {Format.JSON, Format.YAML}:
        write_data([dict(zip(table.header, row, strict=True)) for row in rows], output)
        return
    section = Section(kind.value, table=Table(table.header, rows, table.numeric))
    write_reports([Report("Catalog", f"{len(rows)} {kind.value}", good=True, sections=(section,))], output)


@app.command(epilog="Examples: `inferplan catalog show Qwen/Qwen3-8B`, `inferplan catalog show h100-80gb-sxm -o json`")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id, alias or product label of a record.")],
    kind: Annotated[
        Kind | None, typer.Option("--kind", case_sensitive=False, help="Where kinds share an id (vllm): which one.")
    ] = None,
    output: Output = Format.YAML,
    catalog: Overlay = None,
) -> None:
    """Print one record with everything known about it and its sources."""
    from inferplan.catalog import load_catalog

    known = load_catalog(catalog)
    asked = list(_FINDERS) if kind is None else [kind]
    record = next((found for one in asked if one in _FINDERS and (found := _FINDERS[one](known, name))), None)
    if record is None:
        ids = [model.id for model in known.models] + [gpu.id for gpu in known.gpus]
        ids += [engine.id for engine in known.engines] + [method.id for method in known.methods]
        raise InputError([Fault("catalog", f'"{name}" is not in it', did_you_mean(name, ids))])
    write_data(_plain(asdict(record)), Format.JSON if output is Format.JSON else Format.YAML)


def _named(records: Iterable[tuple[str, Any]], name: str) -> Any:  # noqa: ANN401 - one of several kinds of record
    return next((record for key, record in records if key.casefold() == name.casefold()), None)


_FINDERS: dict[Kind, Callable[[Catalog, str], Any]] = {
    Kind.MODELS: lambda known, name: known.model(name),
    Kind.GPUS: lambda known, name: known.gpu(name),
    Kind.ENGINES: lambda known, name: known.engine(name),
    Kind.METHODS: lambda known, name: known.method(name),
    Kind.CALIBRATION: lambda known, name: _named(((one.id, one) for one in known.calibrations), name),
    Kind.PRESETS: lambda known, name: _named(((one.use_case.value, one) for one in known.presets), name),
    Kind.LEVELS: lambda known, name: _named(((one.name, one) for one in known.levels), name),
}
"""How the record of an id is found, by kind, in the order in which kinds are looked through."""


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a record holds
    """Reduce a record to what JSON can say."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items() if entry not in (None, (), "")}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(entry) for entry in value)
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, Decimal) else value


def _tables(known: Catalog) -> dict[Kind, Table]:
    return {
        Kind.MODELS: Table(
            ("Id", "Parameters", "Active", "Context", "Weights", "Arena", "Licence"),
            tuple(_model_row(model) for model in known.models),
            frozenset({1, 2, 3, 5}),
        ),
        Kind.GPUS: Table(
            ("Id", "Name", "Memory", "Bandwidth", "FP16 dense", "Family", "From"),
            tuple(
                (
                    gpu.id,
                    gpu.name,
                    gigabytes(gpu.memory_bytes),
                    f"{number(gpu.hbm_bandwidth_bytes_per_s / 1e9, 5)} GB/s",
                    f"{number((gpu.peak(Dtype.FLOAT16) or 0) / 1e12, 5)} TFLOP/s",
                    gpu.family,
                    _cheapest(known.offerings, gpu.id),
                )
                for gpu in known.gpus
            ),
            frozenset({2, 3, 4}),
        ),
        Kind.OFFERINGS: Table(
            ("Provider", "Region", "Instance type", "GPUs", "Terms", "Price", "Of", "Source"),
            tuple(
                (
                    offer.provider,
                    offer.region,
                    offer.instance_type,
                    f"{offer.gpu_count}× {offer.gpu}",
                    str(offer.terms),
                    f"{usd(offer.price_usd_per_hour)}/h",
                    offer.as_of,
                    offer.source,
                )
                for offer in known.offerings
            ),
        ),
        Kind.ENGINES: Table(
            ("Id", "Version", "Image", "Memory share", "Notes"),
            tuple((e.id, e.version, e.image, f"{e.memory_fraction:.2f}", "; ".join(e.notes)) for e in known.engines),
        ),
        Kind.METHODS: Table(
            ("Id", "Weights", "Bits", "From capability", "Native from", "Engines"),
            tuple(
                (
                    m.id,
                    str(m.quantization),
                    f"{m.weight_bits:g}",
                    f"{m.min_compute_capability / 10}",
                    "–" if m.native_min_compute_capability is None else f"{m.native_min_compute_capability / 10}",
                    ", ".join(m.engines),
                )
                for m in known.methods
            ),
        ),
        Kind.PRESETS: Table(
            ("Use case", "Field", "Value", "Reason"),
            tuple((p.use_case.value, v.field, str(v.value), v.reason) for p in known.presets for v in p.values),
        ),
        Kind.LEVELS: Table(
            ("Level", "Metric", "From", "Reason"),
            tuple((level.name, level.metric, str(level.minimum), level.reason) for level in known.levels),
        ),
        Kind.CALIBRATION: Table(
            ("Id", "Engine", "For", "Runs", "Fitted on"),
            tuple(
                (c.id, c.engine, c.gpu or c.family or "everything", str(c.runs), c.fitted_on)
                for c in known.calibrations
            ),
        ),
    }


def _model_row(model: ModelSpec) -> tuple[str, ...]:
    score = model.score("lmarena_text_elo_style_control")
    return (
        model.id,
        f"{model.params_total / 1e9:.1f}e9",
        f"{model.params_active / 1e9:.1f}e9",
        f"{model.max_position_embeddings:,}",
        ", ".join(dict.fromkeys(checkpoint.quantization.value for checkpoint in model.checkpoints)),
        "unknown" if score is None else str(score.value),
        model.license,
    )


def _cheapest(offerings: tuple[Offering, ...], gpu: str) -> str:
    prices = [offer.price_usd_per_hour / offer.gpu_count for offer in offerings if offer.gpu == gpu]
    return f"{usd(min(prices))}/h" if prices else "no price"
