"""``inferplan simulate``: a plan's requests, one by one, through the engine's scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from inferplan.cli.options import INFEASIBLE, Files, Nodes, OneTier, Output, Overlay, Prices
from inferplan.cli.output import Format, write_data, write_reports
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.model import Task
from inferplan.domain.scenario import Scenario

if TYPE_CHECKING:
    from inferplan.planner.arithmetic import Subject
    from inferplan.report.simulation import SimulatedPlan

EPILOG = """
**Examples**

`inferplan simulate examples/chatbot-scenario.yaml` – the distribution of the chosen plan's latencies

`inferplan simulate chatbot.yaml --tier Budget --requests 10000 --seed 7`
"""

MOST_REQUESTS = 200_000


def simulate(
    files: Files,
    output: Output = Format.TABLE,
    tier: OneTier = None,
    requests: Annotated[
        int, typer.Option("--requests", min=100, max=MOST_REQUESTS, help="How many requests of one replica.")
    ] = 3_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same requests.")] = 1,
    inventory: Nodes = None,
    catalog: Overlay = None,
    price_book: Prices = None,
) -> None:
    """Simulate a plan's requests step by step, beside what the closed formulas say."""
    from inferplan.cli.inputs import read_asked, read_catalog, read_nodes
    from inferplan.planner import Planner
    from inferplan.report.outline import Report, Section
    from inferplan.report.simulation import simulation_report

    known = read_catalog(catalog, price_book)
    nodes = read_nodes(inventory, known)
    planner = Planner(known)
    asked = read_asked(files, known)
    _refuse_classifiers([one.resolved.scenario for one in asked])
    reports: list[Report] = []
    data: list[dict[str, Any]] = []
    missing = False
    for one in asked:
        scenario = one.resolved.scenario
        subject = planner.subject(scenario, nodes, tier)
        if subject is None:
            missing = True
            hint = Section("Why", paragraphs=("inferplan plan tells what stands in the way.",))
            reports.append(Report(scenario.name, "no such plan", good=False, sections=(hint,)))
            data.append({"scenario": scenario.name, "simulated": None})
            continue
        run = _simulated(subject, requests, seed)
        reports.append(simulation_report(run))
        data.append(_data(run))
    if output in {Format.JSON, Format.YAML}:
        write_data(data[0] if len(data) == 1 else data, output)
    else:
        write_reports(reports, output)
    if missing:
        raise typer.Exit(INFEASIBLE)


def _refuse_classifiers(scenarios: list[Scenario]) -> None:
    faults = [
        Fault(scenario.name, "a classifier generates nothing, so there is no decoding to simulate")
        for scenario in scenarios
        if scenario.task is Task.CLASSIFICATION
    ]
    if faults:
        raise InputError(faults)


def _simulated(subject: Subject, requests: int, seed: int) -> SimulatedPlan:
    import numpy as np

    from inferplan.domain.scenario import LoadKind
    from inferplan.estimate.estimator import predict
    from inferplan.estimate.simulation import simulate as run
    from inferplan.estimate.traffic import draw_traffic
    from inferplan.report.simulation import SimulatedPlan

    load = subject.load
    amounts = {LoadKind.CLOSED_LOOP: load.users, LoadKind.OPEN_LOOP: load.rate_rps, LoadKind.OFFLINE: load.items}
    amount = float(np.max(np.asarray(amounts[load.kind], dtype=np.float64)))
    if load.kind is LoadKind.OFFLINE:
        requests = max(1, min(requests, round(amount)))
    first_within = float(predict(subject.table, load).e2e.mean[0]) + load.think_time_s
    traffic = draw_traffic(
        np.random.default_rng(seed),
        requests,
        kind=load.kind,
        amount=amount,
        prompt=(float(np.max(load.isl_mean)), float(np.max(load.isl_p95))),
        output=(float(np.max(load.osl_mean)), float(np.max(load.osl_p95))),
        prefix_tokens=float(np.max(load.shared_prefix_tokens)),
        think_s=load.think_time_s,
        burstiness=load.burstiness,
        first_within_s=first_within,
    )
    engine = subject.plan.configuration.engine
    slots = int(np.max(load.max_num_seqs))
    found = run(subject.table, traffic, max_num_seqs=slots, reserves_output=engine.id == "tgi")
    return SimulatedPlan(subject.scenario.name, subject.plan, subject.table, load, found, seed)


def _data(run: SimulatedPlan) -> dict[str, Any]:
    from inferplan.report.simulation import compare

    return {
        "scenario": run.scenario,
        "configuration": run.plan.configuration.title,
        "seed": run.seed,
        "requests": len(run.found.ttft_s),
        "steps": run.found.steps,
        "preemptions": run.found.preemptions,
        "simulated": [
            {
                "latency": row.metric,
                "statistic": row.statistic,
                "simulatedMs": round(row.simulated, 3),
                "closedFormMs": round(row.closed_form, 3),
                "differencePercent": round(100.0 * row.difference, 1),
            }
            for row in compare(run)
        ],
    }
