"""Every fault of a user's catalog is found, named with file and record, and told with the others."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from inferplan.catalog import apply_price_book, check_catalog, load_catalog
from inferplan.catalog.files import COLUMNS, OURS
from inferplan.domain.errors import CatalogError
from tests.builders import make_offering

ROW = "a,b,c,t4,1,4,15,Cloud,1,,2026-01-01,aws-gpu"
T4 = (OURS / "gpus" / "t4.toml").read_text(encoding="utf-8")
LLAMA = (OURS / "models" / "meta-llama-llama-2-7b-chat-hf.toml").read_text(encoding="utf-8")
MIXTRAL = (OURS / "models" / "mistralai-mixtral-8x7b-instruct-v0.1.toml").read_text(encoding="utf-8")
LLAMA_FILE = "models/meta-llama-llama-2-7b-chat-hf.toml"
HEADER = ",".join(COLUMNS)


def row(**changes: str) -> str:
    """One offering, some of its cells written differently."""
    cells = dict(zip(COLUMNS, ROW.split(","), strict=True)) | changes
    return f"{HEADER}\n{','.join(cells[column] for column in COLUMNS)}\n"


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


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpus/t4.toml", T4.replace("= 3.2e11", "= 320.0"), "bandwidth of 320 bytes/s (bytes/s, not GB/s)"),
        ("gpus/t4.toml", T4.replace("float16 = 6.5e13", "float16 = 65.0"), "float16 peak of 65 FLOP/s"),
        ("gpus/t4.toml", T4.replace("float16 = 6.5e13\n", ""), "has no float16 peak"),
        ("gpus/t4.toml", T4.replace("= 3.2e11", "= nan"), "hbm_bandwidth_bytes_per_s"),
        ("gpus/t4.toml", T4.replace("= 3.2e11", "= inf"), "hbm_bandwidth_bytes_per_s"),
        ("gpus/t4.toml", T4.replace("tdp_w = 70", "tdp_w = -70"), "tdp_w"),
        ("gpus/t4.toml", T4.replace("node_sizes = [1, 2, 4, 8]", "node_sizes = []"), "node_sizes"),
        ("gpus/t4.toml", T4.replace('aliases = ["T4-16GB"]', 'aliases = [""]'), "aliases.0"),
        ("gpus/t4.toml", T4.replace("domain_gpus = 1", "domain_gpu = 1"), 'did you mean "domain_gpus"?'),
        ("gpus/t4.toml", T4.replace('retrieved = "2026-08-22"', 'retrieved = "last year"'), "sources.0.retrieved"),
        ("gpus/t4.toml", "id = " + "9" * 5_000, "is not TOML"),
        ("gpus/t4.toml", "#" * 5_000_001, "is larger than"),
        (LLAMA_FILE, LLAMA.replace("layers = 32", "layers = 0"), "layers"),
        (
            LLAMA_FILE,
            LLAMA.replace("layers = 32", "layers = 33", 1).replace("layers = 32", "layers = 34"),
            "34 attention",
        ),
        (LLAMA_FILE, LLAMA.replace("vocab_size = 32000", "vocab_size = 32_000_000"), "embedding alone"),
        (LLAMA_FILE, LLAMA[: LLAMA.index("[[attention]]")] + LLAMA[LLAMA.index("[[checkpoints]]") :], "no attention"),
        (LLAMA_FILE, LLAMA.replace("key_head_dim = 128\n", ""), "full attention without key_head_dim"),
        (LLAMA_FILE, LLAMA.replace('kind = "full"', 'kind = "sliding"'), "sliding attention without window_tokens"),
        (LLAMA_FILE, LLAMA.replace('kind = "full"', 'kind = "mla"'), "mla attention without latent_values_per_token"),
        (LLAMA_FILE, LLAMA.replace('kind = "full"', 'kind = "linear"'), "linear attention without state_bytes"),
        (LLAMA_FILE, "image_prefix = true\n" + LLAMA, "image_prefix without multimodal_item_tokens"),
        (LLAMA_FILE, LLAMA.replace('value = "1107"', 'value = "NaN"'), "scores.0.value"),
        (LLAMA_FILE, LLAMA.replace('value = "1107"', 'value = "high"'), '"high" is not a number'),
        (
            "models/mistralai-mixtral-8x7b-instruct-v0.1.toml",
            MIXTRAL.replace("experts = 8", "experts = 80"),
            "experts alone",
        ),
        ("offerings/x.csv", row(provider=" "), "x.csv:2: provider: is empty"),
        ("offerings/x.csv", row(market="Bazaar"), '"Bazaar" is none (allowed: Cloud'),
        ("offerings/x.csv", row(gpu_count="many"), '"many" is not a number'),
        ("offerings/x.csv", row(gpu_count="nan"), '"nan" is not a number'),
        ("offerings/x.csv", row(gpu_count="0.5"), "whole GPUs only"),
        ("offerings/x.csv", row(vcpus="0"), '"0" is not an amount'),
        ("offerings/x.csv", row(memory_gib="-1"), '"-1" is not an amount'),
        ("offerings/x.csv", row(as_of="yesterday"), '"yesterday" is not a date'),
        ("offerings/x.csv", row(spot_usd_per_hour="NaN"), '"NaN" is not a price'),
        ("offerings/x.csv", row(spot_usd_per_hour="1e40"), '"1e40" is not a price'),
        ("offerings/x.csv", row(on_demand_usd_per_hour="-1"), "must be above zero"),
        ("offerings/x.csv", row() + f"{ROW}\n", "is priced in"),
        ("offerings/x.toml", "tags = 3", "describes no source"),
        ("offerings/x.json", "{}", "is not read (records are TOML files, offerings CSV)"),
        ("gpus.toml", T4, "is not read (files stand in folders"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, name: str, text: str, expected: str) -> None:
    assert expected in "\n".join(str(fault) for fault in check_catalog(write(tmp_path, name, text)))


def test_notes_to_people_and_hidden_files_are_no_records(tmp_path: Path) -> None:
    for name in ("README.md", "notes.txt", ".git/config", "gpus/README.md", "gpus/.t4.toml.swp"):
        write(tmp_path, name, "for people")
    assert check_catalog(tmp_path) == ()


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    write(tmp_path, "gpus/t4.toml", "\ufeff" + T4)
    assert check_catalog(write(tmp_path, "offerings/x.csv", "\ufeff" + row())) == ()


def test_what_is_no_text_is_a_fault(tmp_path: Path) -> None:
    for name, told in (("gpus/x.toml", "is not TOML"), ("offerings/x.csv", "is not CSV")):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_bytes(b"\xff\xfe\x00")
        assert told in only_fault(tmp_path)
        path.unlink()


def test_a_folder_in_the_place_of_a_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "gpus" / "x.toml").mkdir(parents=True)
    assert "cannot be read" in only_fault(tmp_path)


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
