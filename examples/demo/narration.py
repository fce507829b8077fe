"""How the demo speaks: headings, remarks, and commands with what they print."""

from __future__ import annotations

import os
import shlex
import sys
import time

BOLD, DIM, CYAN, RED, PLAIN = "\033[1m", "\033[2m", "\033[36m", "\033[31m", "\033[0m"
WIDTH = 100


class Narrator:
    """Somebody who tells on the standard output what is going on; in colour only on a terminal."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._colourful = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def heading(self, text: str) -> None:
        """Begin a new part."""
        self._write(f"\n{self._in(BOLD, f'── {text} '.ljust(WIDTH, '─'))}")

    def say(self, text: str) -> None:
        """Tell something."""
        self._write(text)

    def progress(self, text: str) -> None:
        """Tell that something is going on, and since when."""
        self._write(self._in(DIM, f"[{self.elapsed_s:5.0f} s] {text}"))

    def command(self, *words: str) -> None:
        """Show a command as one would type it."""
        self._write(self._in(CYAN, f"\n$ {shlex.join(words)}"))

    def failure(self, text: str) -> None:
        """Tell what went wrong."""
        self._write(self._in(RED, text))

    @property
    def elapsed_s(self) -> float:
        """Time since the beginning [s]."""
        return time.monotonic() - self._started

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colourful else text

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(f"{text.rstrip()}\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # nobody listens any more, as after `| head`: end, and quietly
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise KeyboardInterrupt from None
