"""What a deployment costs: exact decimals, one stated rule.

The rule, in every mode::

    cost per request = price per second of what the plan occupies / requests per second at the modelled load
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from inferplan.domain.deployment import Cost, Placement
from inferplan.domain.hardware import OwnedPool
from inferplan.domain.units import HOURS_PER_MONTH, HOURS_PER_YEAR, MICRO_USD, SECONDS_PER_HOUR

_MILLION = Decimal(1_000_000)
_RATE_QUANTUM = Decimal("0.000001")
_REQUEST_QUANTUM = Decimal("0.000000001")
_TOKENS_QUANTUM = Decimal("0.0001")
_CENT = Decimal("0.01")


def price_usd_per_hour(placements: Sequence[Placement]) -> Decimal:
    """Price of everything that a plan occupies [USD/h].

    Machines taken whole count whole. On shared or owned nodes only the GPUs used are paid for, in
    proportion to the node's price.

    Notes
    -----
    ``sum(count x price x paid GPUs / (count x GPUs per machine))`` where the paid GPUs are all of the
    machine's when it is rented for the plan, and the used ones when the rest is free for others.
    """
    total = Decimal(0)
    for place in placements:
        paid = place.gpus_used + place.gpus_idle
        total += place.price_usd_per_hour * paid / place.gpus_per_instance
    return total.quantize(MICRO_USD, rounding=ROUND_HALF_EVEN)


def owned_node_usd_per_hour(pool: OwnedPool) -> Decimal:
    r"""Cost of one owned machine for one hour, used or not [USD/h].

    Notes
    -----
    .. math::

        c = \frac{P (1 - r)}{8760\, L} + \frac{P m}{8760} + W\, \mathrm{PUE}\, t + \frac{o}{730}

    with purchase price P [USD], residual share r, life L [years], yearly maintenance share m, mean draw W
    [kW], tariff t [USD/kWh] and other costs o [USD/month].

    >>> pool = OwnedPool(
    ...     "h100",
    ...     "h100-80gb-sxm",
    ...     8,
    ...     1,
    ...     Decimal(300000),
    ...     Decimal(5),
    ...     7650,
    ...     Decimal("1.25"),
    ...     Decimal("0.0826"),
    ...     Decimal(5),
    ...     Decimal(0),
    ...     Decimal(0),
    ... )
    >>> owned_node_usd_per_hour(pool) / 8  # capital 0.856, energy 0.099, upkeep 0.214 per GPU-hour
    Decimal('1.16893825')
    """
    percent = Decimal(100)
    capital = pool.purchase_usd_per_node * (1 - pool.residual_percent / percent)
    capital_per_hour = capital / (HOURS_PER_YEAR * pool.life_years)
    upkeep = pool.purchase_usd_per_node * pool.maintenance_percent_per_year / percent / HOURS_PER_YEAR
    energy = Decimal(pool.power_w_per_node) / 1000 * pool.pue * pool.usd_per_kwh
    other = pool.other_usd_per_month / HOURS_PER_MONTH
    return (capital_per_hour + upkeep + energy + other).quantize(MICRO_USD, rounding=ROUND_HALF_EVEN)


def break_even_utilization(owned_usd_per_hour: Decimal, rented_usd_per_hour: Decimal) -> Decimal:
    """Share of hours in use above which owning beats renting by the hour.

    Owned machines cost in every hour, rented ones only in the hours used; above 1 owning never pays.

    >>> break_even_utilization(Decimal("1.37"), Decimal("6.88"))
    Decimal('0.1991')
    """
    return (owned_usd_per_hour / rented_usd_per_hour).quantize(Decimal("0.0001"))


def cost(
    placements: Sequence[Placement],
    *,
    requests_per_s: float,
    input_tokens: float,
    output_tokens: float,
    utilization: float,
    hours_per_month: Decimal = Decimal(HOURS_PER_MONTH),
    run_duration_s: float | None = None,
) -> Cost:
    """Turn what a plan occupies and serves into what it costs.

    Parameters
    ----------
    placements
        What is occupied.
    requests_per_s
        Requests (or items) completed per second by the whole deployment at the modelled load.
    input_tokens, output_tokens
        Mean tokens of one request; classifiers generate none.
    utilization
        Offered load over saturation load, for the record.
    hours_per_month
        730, or the hours in which a scheduled run occupies the hardware.
    run_duration_s
        Duration of one batch run; gives the cost of a run.

    Notes
    -----
    Halving ``requests_per_s`` doubles the cost per request; an idle GPU that is paid for raises it.
    The rate is rounded to 1e-6/s first, so that every figure can be recomputed from the ones shown.
    """
    per_hour = price_usd_per_hour(placements)
    rate = Decimal(repr(float(requests_per_s))).quantize(_RATE_QUANTUM)
    per_request = per_million_output = per_million_total = per_run = None
    if rate > 0:
        exact = per_hour / SECONDS_PER_HOUR / rate
        per_request = exact.quantize(_REQUEST_QUANTUM)
        tokens_in, tokens_out = Decimal(repr(float(input_tokens))), Decimal(repr(float(output_tokens)))
        if tokens_out > 0:
            per_million_output = (exact / tokens_out * _MILLION).quantize(_TOKENS_QUANTUM)
        if tokens_in + tokens_out > 0:
            per_million_total = (exact / (tokens_in + tokens_out) * _MILLION).quantize(_TOKENS_QUANTUM)
    if run_duration_s is not None:
        per_run = (per_hour * Decimal(repr(float(run_duration_s))) / SECONDS_PER_HOUR).quantize(_TOKENS_QUANTUM)
    return Cost(
        per_hour=per_hour,
        per_month=(per_hour * hours_per_month).quantize(_CENT, rounding=ROUND_HALF_EVEN),
        hours_per_month=hours_per_month,
        per_request=per_request,
        per_million_output_tokens=per_million_output,
        per_million_total_tokens=per_million_total,
        per_run=per_run,
        requests_per_s=rate,
        utilization_percent=round(100 * utilization),
        placements=tuple(placements),
        gpus_idle=sum(place.gpus_idle for place in placements),
    )
