"""Where the planner's knowledge comes from: TOML records with their sources, ours and a user's laid over them."""

from inferplan.catalog.check import check_catalog
from inferplan.catalog.loader import load_catalog
from inferplan.catalog.prices import apply_price_book
from inferplan.catalog.yardsticks import load_yardsticks

__all__ = ["apply_price_book", "check_catalog", "load_catalog", "load_yardsticks"]
