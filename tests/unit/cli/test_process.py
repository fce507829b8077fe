"""The command as the shell starts it: exit status, signals, pipes, colour."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inferplan import __version__
from inferplan.cli import app as module
from tests.unit.cli.conftest import Cli

COMMAND = [sys.executable, "-m", "inferplan"]


def started(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INFERPLAN_")}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**inherited, **environment},
        timeout=120,
    )


def test_the_version() -> None:
    ended = started("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"inferplan {__version__}\n", "")


@pytest.mark.parametrize(
    ("name", "code"), [("chatbot-scenario.yaml", 0), ("infeasible-scenario.yaml", 3), ("nowhere.yaml", 2)]
)
def test_exit_status(examples: Path, name: str, code: int) -> None:
    ended = started("plan", examples / name)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert bool(ended.stdout) is (code != 2)
    assert bool(ended.stderr) is (code == 2)


def test_output_is_utf_8_even_where_the_locale_is_not(examples: Path) -> None:
    ended = started("plan", examples / "chatbot-scenario.yaml", LC_ALL="C", LANG="C", PYTHONUTF8="0")
    assert ended.returncode == 0
    assert "✅" in ended.stdout


def test_ctrl_c_ends_quietly_with_130() -> None:
    with subprocess.Popen(
        [*COMMAND, "plan", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until_it_reads(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def wait_until_it_reads(pid: int) -> None:
    """Wait until imports are done and the process sleeps on its input."""
    busy = -1.0
    for _ in range(300):
        time.sleep(0.2)
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        now = float(fields[11]) + float(fields[12])
        if fields[0] == "S" and now == busy and now > 0:
            return
        busy = now


def test_a_reader_who_leaves_early_is_no_defect(examples: Path) -> None:
    path = examples / "chatbot-scenario.yaml"
    line = f"{sys.executable} -m inferplan plan {path} --explain | head -n 1; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, check=False, encoding="utf-8", timeout=120)
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize(("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_color_only_on_a_terminal_and_only_if_wanted(
    examples: Path, environment: dict[str, str], *, colored: bool
) -> None:
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    with subprocess.Popen(
        [*COMMAND, "plan", str(examples / "chatbot-scenario.yaml")],
        stdout=theirs,
        env={**inherited, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := read(ours):
            shown += chunk
    os.close(ours)
    assert process.returncode == 0
    assert (b"\x1b[1;32m" in shown) is colored


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def broken() -> None:
    raise RuntimeError("the\nworld ended")  # noqa: EM101, TRY003 - somebody's message


def test_a_defect_is_one_line_that_asks_for_a_report(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "app", broken)
    ended = cli("plan", "x")
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    for text in ("defect", "report", "RuntimeError", "--debug"):
        assert text in ended.err


@pytest.mark.parametrize("way", [["--debug"], []])
def test_a_defect_shows_its_place_when_debugging(tmp_path: Path, way: list[str]) -> None:
    """With --debug or INFERPLAN_DEBUG=1; a stand-in for the planner fails in a process of its own."""
    script = tmp_path / "failing.py"
    script.write_text(
        "import sys\n"
        "from inferplan.api import crd\n"
        "from inferplan.cli import app\n"
        "def fail(): raise RuntimeError('the world ended')\n"
        "crd.crd_yaml = fail\n"
        "app.main()\n",
        encoding="utf-8",
    )
    environment = {**os.environ} if way else {**os.environ, "INFERPLAN_DEBUG": "1"}
    ended = subprocess.run(
        [sys.executable, str(script), *way, "schema"],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env=environment,
        timeout=120,
    )
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "in fail" in ended.stderr
    assert "report it" in ended.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["plan", "--help"]])
def test_help_comes_without_the_planner(arguments: list[str]) -> None:
    """Help and shell completion stay quick because what plans is imported by what plans."""
    script = (
        "import sys\n"
        "from inferplan.cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print({'numpy', 'inferplan.planner', 'inferplan.catalog'} & set(sys.modules), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, check=False, encoding="utf-8", timeout=120
    )
    assert ended.returncode == 0
    assert ended.stderr.strip() == "set()"
