"""Options, by words and by environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferplan.kube.options import ObjectName, read_options


def test_nothing_has_to_be_said() -> None:
    found = read_options([], {})
    assert found.namespaces == ()
    assert found.lease.name == "inferplan-operator"
    assert found.price_book == ObjectName(found.lease.namespace, "inferplan-price-book")
    assert (found.health_port, found.metrics_port, found.json_logs) == (8081, 8080, False)
    assert read_options([], {}).identity != found.identity


def test_everything_can_be_said_by_words() -> None:
    words = [
        *("--namespace", "a", "--namespace=b", "--lease-namespace=home", "--lease-name=l", "--identity=me"),
        *("--health-port=0", "--metrics-port=9", "--price-book=x/y", "--catalog=c", "--log-format=json"),
        "--kubeconfig=k",
    ]
    found = read_options(words, {"INFERPLAN_NAMESPACE": "ignored", "INFERPLAN_IDENTITY": "ignored"})
    assert found.namespaces == ("a", "b")
    assert found.lease == ObjectName("home", "l")
    assert found.identity == "me"
    assert (found.health_port, found.metrics_port) == (0, 9)
    assert found.price_book == ObjectName("x", "y")
    assert (found.catalog, found.json_logs, found.kubeconfig) == (Path("c"), True, Path("k"))


def test_everything_can_be_said_by_the_environment() -> None:
    said = {
        "INFERPLAN_NAMESPACE": "a, b",
        "INFERPLAN_LEASE_NAMESPACE": "home",
        "INFERPLAN_HEALTH_PORT": "7",
        "INFERPLAN_PRICE_BOOK": "x/y",
        "INFERPLAN_LOG_FORMAT": "json",
    }
    found = read_options([], said)
    assert (found.namespaces, found.lease.namespace, found.health_port) == (("a", "b"), "home", 7)
    assert (found.price_book, found.json_logs) == (ObjectName("x", "y"), True)


@pytest.mark.parametrize("word", ["--health-port=70000", "--health-port=x", "--price-book=name", "--log-format=xml"])
def test_what_makes_no_sense_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options([word], {})
    assert ended.value.code == 2
    assert word.partition("=")[0] in capsys.readouterr().err
