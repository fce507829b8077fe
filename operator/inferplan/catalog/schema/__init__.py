"""Records as they are written in the catalog's files, and how each becomes a value of the domain."""

from inferplan.catalog.schema.base import Sourced
from inferplan.catalog.schema.calibration import CalibrationRecord
from inferplan.catalog.schema.engine import Engine, Method
from inferplan.catalog.schema.gpu import Gpu
from inferplan.catalog.schema.model import Model
from inferplan.catalog.schema.preset import Level, Preset

KINDS: dict[str, type[Sourced]] = {
    "models": Model,
    "gpus": Gpu,
    "engines": Engine,
    "methods": Method,
    "presets": Preset,
    "levels": Level,
    "calibration": CalibrationRecord,
}
"""Folder to the kind of record that its TOML files hold, one record a file."""

__all__ = ["KINDS", "CalibrationRecord", "Engine", "Gpu", "Level", "Method", "Model", "Preset", "Sourced"]
