"""Public collections of measurements that constants were fitted on: where each comes from, and on what terms.

No row of them is shipped with the catalog; where a licence is unclear, fitted constants are all that is used.
"""

from __future__ import annotations

import csv
from pathlib import Path

from inferplan.domain.model import Source

TABLE = Path(__file__).parent / "data" / "measurements.csv"
FITTED = ("constants", "ranges", "errors")


def load_measurements() -> dict[str, Source]:
    """Load the sources by the id under which a table of runs names them."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return {
            row["source_id"]: Source(FITTED, row["title"], row["retrieved"], row["url"] or None, row["licence"] or None)
            for row in csv.DictReader(lines)
        }
