"""Every fault of a user's catalog is found, named with file and record, and told with the others."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from inferplan.catalog import apply_price_book, check_catalog, load_catalog
from inferplan.catalog.files import COLUMNS, OURS
from inferplan.domain.errors import CatalogError
from tests.builders import make_offering

T4 = (OURS / "gpus" / "t4.toml").read_text(encoding="utf-8")
LLAMA = (OURS / "models" / "meta-llama-llama-2-7b-chat-hf.toml").read_text(encoding="utf-8")
HEADER = ",".join(COLUMNS)


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return root


def only_fault(root: Path) -> str:
    (fault,) = check_catalog(root)
    return str(fault)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpus/x.toml", "id = ", "gpus/x.toml: is not TOML"),
        ("gpus/x.toml", T4.replace('id = "t4"', 'id = "x"\ntpd_w = 70'), 'unknown key (did you mean "tdp_w"?)'),
        ("gpus/t4.toml", T4.replace("launch_year = 2018", 'launch_year = "2018"'), "launch_year"),
        ("gpus/t4.toml", T4.replace("bandwidth_bytes_per_s = 3.2e11", "bandwidth_bytes_per_s = 0.0"), "bandwidth"),
        ("gpus/t4.toml", T4[: T4.index("[[sources]]")], "sources"),
        (
            "gpus/t4.toml",
            T4.replace("memory_bytes = 16_106_127_360", "memory_bytes = 26_106_127_360"),
            "does not go with",
        ),
        ("gpus/t4.toml", T4.replace("float16 = 6.5e13", "float16 = 6.5e13\nfp8 = 2.6e14"), "never the sparse figure"),
        ("gpus/x.toml", T4.replace('id = "t4"', 'id = "x"'), "belongs to t4 too"),
        ("gpu/x.toml", T4, 'did you mean "gpus"?'),
        ("gpus/x.yaml", "id: x", "records are TOML files"),
        ("models/x.toml", LLAMA.replace('method = "awq"', 'method = "awg"'), 'did you mean "awq"?'),
        (
            "models/meta-llama-llama-2-7b-chat-hf.toml",
            LLAMA.replace("params_active = 6_738_415_616", "params_active = 5_738_415_616"),
            "a dense model uses all its parameters",
        ),
        ("offerings/x.csv", "provider,price\n", "has other columns"),
        ("offerings/x.csv", f"{HEADER}\na,b,c,t4\n", "has 4 values"),
        ("offerings/x.csv", f"{HEADER}\na,b,c,t5,1,,,Cloud,1,,2026-01-01,aws-gpu\n", 'GPU "t5" is not in the catalog'),
        ("offerings/x.csv", f"{HEADER}\na,b,c,t4,0,,,Cloud,1,,2026-01-01,aws-gpu\n", "whole GPUs only"),
        ("offerings/x.csv", f"{HEADER}\na,b,c,t4,1,,,Cloud,cheap,,2026-01-01,aws-gpu\n", "is not a price"),
        ("offerings/x.csv", f"{HEADER}\na,b,c,t4,1,,,Cloud,0,,2026-01-01,aws-gpu\n", "must be above zero"),
        ("offerings/x.csv", f"{HEADER}\na,b,c,t4,1,,,Cloud,384,,2026-01-01,aws-gpu\n", "per GPU-hour; the median"),
        ("offerings/x.csv", f"{HEADER}\na,b,c,t4,1,,,Cloud,1,,2026-01-01,hearsay\n", '"hearsay" is not described'),
    ],
)
def test_a_fault_is_found_and_named(tmp_path: Path, name: str, text: str, expected: str) -> None:
    assert expected in "\n".join(str(fault) for fault in check_catalog(write(tmp_path, name, text)))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "gpus/x.toml", "id = ")
    write(tmp_path, "offerings/x.csv", "provider\n")
    with pytest.raises(CatalogError) as told:
        load_catalog(tmp_path)
    assert len(told.value.faults) == 2


def test_a_folder_that_is_none_is_a_fault(tmp_path: Path) -> None:
    assert "is not a folder" in only_fault(tmp_path / "missing")


def test_the_same_id_twice_in_one_folder_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "gpus/a.toml", T4)
    assert "stands in" in only_fault(write(tmp_path, "gpus/b.toml", T4))


def test_an_empty_overlay_changes_nothing(tmp_path: Path) -> None:
    assert load_catalog(tmp_path) == load_catalog()


def test_a_known_id_replaces_and_a_new_one_adds(tmp_path: Path) -> None:
    write(tmp_path, "gpus/t4.toml", T4.replace("tdp_w = 70", "tdp_w = 71"))
    new = (
        T4.replace('"t4"', '"my-gpu"')
        .replace('"Tesla T4"', '"Mine"')
        .replace('"Tesla-T4", "nvidia-tesla-t4"', '"Mine"')
    )
    write(tmp_path, "gpus/mine.toml", new.replace('"T4-16GB"', '"Mine-16GB"'))
    ours, theirs = load_catalog(), load_catalog(tmp_path)
    assert len(theirs.gpus) == len(ours.gpus) + 1
    changed, mine = theirs.gpu("t4"), theirs.gpu("my-gpu")
    assert changed is not None
    assert changed.tdp_w == 71
    assert mine is not None
    assert theirs.digest != ours.digest


def test_a_price_book_replaces_what_it_names_and_changes_the_digest() -> None:
    catalog = load_catalog()
    book = make_offering(instance_type="g4dn.xlarge", gpu="t4", price_usd_per_hour=Decimal("0.111"), region="us-east-1")
    priced = apply_price_book(catalog, [book])
    assert len(priced.offerings) == len(catalog.offerings)
    assert book in priced.offerings
    assert priced.digest != catalog.digest
    assert apply_price_book(catalog, []).digest == catalog.digest
