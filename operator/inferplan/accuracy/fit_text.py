"""Calibration records as a file of the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from inferplan.domain.calibration import Calibration

HEAD = """\
# Written by `inferplan calibrate`; edit the runs, not this file.
# Names that end in 8bit, 4bit, unpacked, 4bit_experts or unpacked_experts hold for those kernels alone; those that end
# in ratio_before_0_14 multiply for vLLM before 0.14. Records with `before` hold for earlier releases alone.
# Ranges hold nine of ten measurements of groups that were left out of the fit: anything of a measured GPU (Measured), a
# GPU of a measured family (Calibrated), a GPU of another (Extrapolated); with `before`, for earlier releases alone.
"""


def calibration_text(records: Sequence[Calibration]) -> str:
    """Write records as TOML, the more general first."""
    return HEAD + "".join(f"\n{_record(record)}" for record in records)


def _record(record: Calibration) -> str:
    lines = ["[[records]]", f"id = {_text(record.id)}", f"engine = {_text(record.engine)}"]
    for name in ("gpu", "family", "before"):
        value = getattr(record, name)
        if value:
            lines.append(f"{name} = {_text(value)}")
    lines.append(f"engine_versions = {_list(record.engine_versions)}")
    lines.append(f"runs = {record.runs}")
    lines.append(f"fitted_on = {_text(record.fitted_on)}")
    if record.assumed:
        lines.append(f"assumed = {_list(record.assumed)}")
    lines.extend(_table("constants", record.constants))
    lines.extend(_table("error_in_sample_percent", record.error_in_sample_percent))
    lines.extend(_table("error_out_of_sample_percent", record.error_out_of_sample_percent))
    for found in record.ranges:
        lines += ["", "[[records.ranges]]", f"metric = {_text(found.metric)}", f"load = {_text(found.load)}"]
        lines += [f"evidence = {_text(found.evidence)}", f"low = {found.low:.3f}", f"high = {found.high:.3f}"]
        lines += [f"before = {_text(found.before)}"] if found.before else []
    for source in record.sources:
        lines += ["", "[[records.sources]]", f"fields = {_list(source.fields)}", f"title = {_text(source.title)}"]
        lines += [f"{n} = {_text(v)}" for n, v in (("url", source.url), ("licence", source.licence)) if v]
        lines.append(f"retrieved = {_text(source.retrieved)}")
    return "\n".join(lines) + "\n"


def _table(name: str, values: Iterable[tuple[str, float]]) -> list[str]:
    lines = [f"{key} = {_number(value)}" for key, value in values]
    return ["", f"[records.{name}]", *lines] if lines or name == "constants" else []


def _number(value: float) -> str:
    text = f"{value:.4g}"
    return text if any(sign in text for sign in ".en") else f"{text}.0"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(_text(value) for value in values)}]"
