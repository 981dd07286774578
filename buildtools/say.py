"""How build.py talks: short lines, a colour where a terminal shows it, failures as one clear line."""

from __future__ import annotations

import os
import sys
import time

_STARTED = time.monotonic()
_COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class BuildError(Exception):
    """A step that cannot go on: what happened, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def step(text: str) -> None:
    """A headline, with the seconds since the start."""
    stamp = f"[{time.monotonic() - _STARTED:6.1f} s]"
    print(f"\033[1m{stamp} {text}\033[0m" if _COLOUR else f"{stamp} {text}", flush=True)


def note(text: str) -> None:
    """A line under the headline."""
    print(f"           {text}", flush=True)


def size(byte_count: float) -> str:
    """Bytes in words: 12.3 MB."""
    for unit in ("B", "kB", "MB"):
        if byte_count < 1000:
            return f"{byte_count:.0f} {unit}" if unit == "B" else f"{byte_count:.1f} {unit}"
        byte_count /= 1000
    return f"{byte_count:.2f} GB"
