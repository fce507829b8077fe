"""Prices of one's own: checked and compared with what is known."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferplan.api.price_book import read_price_book
from inferplan.domain.errors import InputError
from inferplan.domain.hardware import Market, Offering, Terms
from tests.unit.api.catalogs import make_api_catalog

LINE = {
    "provider": "aws",
    "region": "us-east-1",
    "instanceType": "g4dn.xlarge",
    "gpu": "Tesla-T4",
    "gpuCount": "1",
    "usdPerHour": '"0.40"',
    "asOf": '"2026-11-01"',
    "source": "contract",
}


def entry(**changes: str) -> str:
    return "- {" + ", ".join(f"{key}: {value}" for key, value in {**LINE, **changes}.items()) + "}\n"


def read(text: str) -> tuple[Offering, ...]:
    return read_price_book(text, "book.yaml", make_api_catalog())


def test_a_price_becomes_an_offering_under_the_catalogs_names() -> None:
    assert read(entry()) == (
        Offering(
            provider="aws",
            region="us-east-1",
            instance_type="g4dn.xlarge",
            gpu="t4",
            gpu_count=1,
            terms=Terms.ON_DEMAND,
            market=Market.CLOUD,
            price_usd_per_hour=Decimal("0.40"),
            as_of="2026-11-01",
            source="price book: contract",
        ),
    )


def test_the_prices_stay_in_their_order_and_none_is_fine() -> None:
    assert [price.instance_type for price in read(entry() + entry(instanceType="mine"))] == ["g4dn.xlarge", "mine"]
    assert read("[]") == ()


def test_a_price_per_month_is_noticed_unless_it_is_confirmed() -> None:
    monthly = '"384"'  # 0.526 x 730
    with pytest.raises(InputError, match="far outside what is known of t4"):
        read(entry(usdPerHour=monthly))
    assert read(entry(usdPerHour=monthly, confirmed="true"))[0].price_usd_per_hour == 384


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("provider: aws", "a price book is a list of prices"),
        (entry(gpu="t44"), 'book.yaml:1: gpu: unknown GPU "t44" (did you mean "t4"'),
        (entry(asOf='"2026-13-01"'), '"2026-13-01" is not a date'),
        (entry(asOf='"soon"'), '"soon" is not possible here'),
        (entry(usdPerHour="0.4"), 'usdPerHour: must be text, not 0.4 (write it in quotes: "0.4")'),
        (entry(usdPerHour='"0"'), "usdPerHour: must be above zero"),
        (entry(usdPerHour='"-1"'), 'usdPerHour: must not be negative, not "-1"'),
        (entry(terms="Owned"), "a price book holds rented machines"),
        (entry() + entry(), "book.yaml:2: the price of aws us-east-1 g4dn.xlarge OnDemand stands twice"),
        (entry(price="1"), "book.yaml:1: price: unknown field"),
    ],
)
def test_wrong_prices_are_refused(text: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert fault in str(caught.value)
