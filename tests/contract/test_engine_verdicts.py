"""Every model and GPU of the catalog against the committed verdicts of the engine's own code (tests/engine)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferplan.catalog import load_catalog
from inferplan.domain.attention import attention_needs, find_kernel
from inferplan.domain.model import Dtype, ModelSpec
from tests.engine import verdicts
from tests.engine.verdicts import Form

CATALOG = load_catalog(None)
TABLE = verdicts.read()
MODELS = [model for model in CATALOG.models if model.not_sizable is None]


def kernels_by_our_rules(form: Form, model: ModelSpec) -> str:
    """Kernels by the catalog's rules in the order of the head sizes, as the table has them; empty where it refuses."""
    engine = CATALOG.engine("vllm")
    assert engine is not None
    text_only = form.text_only == "yes"
    if (
        engine.architectures is not None
        and engine.architectures.refuses_float16(model.architecture)
        and form.compute_capability < engine.bfloat16_min_compute_capability
    ):
        return ""
    needs = sorted(attention_needs(model, text_only=text_only), key=lambda need: -need.head_size)
    kernels = replace(engine, text_only=text_only).attention_kernels
    found = [find_kernel(kernels, need, form.compute_capability, Dtype(form.cache_dtype)) for need in needs]
    return "" if None in found else "+".join(kernel.name for kernel in found if kernel is not None)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_our_rules_give_a_model_the_kernels_that_the_engine_gives_it(model: ModelSpec) -> None:
    forms = [form for form, _ in verdicts.forms(replace(CATALOG, models=(model,)))]
    assert forms
    for form in forms:
        assert form in TABLE, f"no verdict on {form}: make test-engine asks the engine"
        assert kernels_by_our_rules(form, model) == TABLE[form].kernels, f"{form}: {TABLE[form].refusal}"


def test_every_verdict_is_about_a_form_of_the_catalog() -> None:
    assert set(TABLE) == {form for form, _ in verdicts.forms(CATALOG)}
