"""What the seed document states for its nine configurations, word for word; nothing of it is ever expected.

Source: "LLM Inference Scenario Analysis" (the seed document), sections *Configuration* and *Results* of each setup.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statement:
    """One configuration as stated. Memory is per GPU [GB]; speed is per user [tok/s]; ``None`` is not stated."""

    row: int
    title: str
    batch: int
    sequence_tokens: int
    users: int
    memory_gb: float
    speed_tps: float
    total_tps: float | None
    latency_s: float
    usd_per_request: str
    fits: bool


STATEMENTS = (
    Statement(1, "Llama 2 7B INT8, 1× T4", 2, 2048, 4, 8.2, 12.3, None, 0.68, "0.000031", fits=True),
    Statement(2, "Llama 2 7B FP16, 1× A100 40 GB", 4, 2048, 8, 18.7, 24.1, 193, 0.45, "0.000089", fits=True),
    Statement(3, "Llama 2 13B FP16, 1× A100 80 GB", 8, 4096, 16, 45.2, 18.6, None, 0.62, "0.000156", fits=True),
    Statement(4, "Llama 2 13B FP16, 1× A100 80 GB", 16, 8192, 4, 68.4, 14.2, 227, 3.2, "0.00089", fits=True),
    Statement(5, "Llama 2 7B FP16, 2× A100 40 GB", 32, 8192, 8, 31.6, 19.8, 634, 2.8, "0.00067", fits=True),
    Statement(6, "Mixtral 8x7B FP16, 1× H100 80 GB", 24, 16384, 6, 52.1, 28.7, 689, 2.1, "0.00098", fits=True),
    Statement(7, "Fine-tuned 7B INT8, 4× A100 40 GB", 64, 512, 32, 9.8, 156, 4992, 8.2, "0.000012", fits=True),
    Statement(8, "Llama 2 13B INT8, 2× A100 80 GB", 48, 1024, 24, 18.9, 89, 2136, 12.4, "0.000028", fits=True),
    Statement(9, "Fine-tuned 7B INT4, 8× T4", 32, 512, 64, 4.2, 67, 4288, 15.8, "0.000008", fits=True),
)
