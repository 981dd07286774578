"""Where a solve says how far it is: text for people, JSON lines for programs; time left is estimated over all stages.

All reporters may be called from several threads. They never fail the solve: a closed pipe means that nobody listens any more,
and the process ends as if its parent had.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, TextIO

from .errors import EXIT_CANCELLED, HoldfastError

STAGES = ("open", "track", "depth", "start", "adjust", "check", "write")
STAGE_WORDS = {
    "open": "Opening the clip", "track": "Tracking", "depth": "Estimating depth", "start": "Finding a first camera path",
    "adjust": "Adjusting cameras and points", "check": "Checking on held-out tracks", "write": "Writing results",
}  # fmt: skip
# Shares of the wall time seen on 1280x720 clips; only the estimate of the time left uses them.
_SHARES = {"open": 0.01, "track": 0.5, "depth": 0.2, "start": 0.05, "adjust": 0.16, "check": 0.06, "write": 0.02}
_MIN_INTERVAL_S = 0.1


class Reporter:
    """Counts, throttles and estimates; subclasses say it. Implements types.Progress and keeps all warnings."""

    wants_preview = False  # whether preview events (solver.preview) are worth making

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._fractions: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._stage_began: dict[str, float] = {}
        self.warnings: list[tuple[str, str]] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report `done` of `total` in a stage; called as often as convenient, passed on about ten times a second."""
        now = time.monotonic()
        fraction = min(done / total, 1.0) if total > 0 else 0.0
        with self._lock:
            new = stage not in self._said
            self._stage_began.setdefault(stage, now)
            self._fractions[stage] = max(fraction, self._fractions.get(stage, 0.0))
            finished = fraction >= 1.0
            if not new and now - self._said[stage] < _MIN_INTERVAL_S and not (finished and self._said.get(stage + "!") is None):
                return
            self._said[stage] = now
            if finished:
                self._said[stage + "!"] = now
            self._say_progress(stage, done, total, self._eta_s(now))

    def warn(self, code: str, message: str) -> None:
        """Report something the user should know; the same warning is said once."""
        with self._lock:
            if (code, message) not in self.warnings:
                self.warnings.append((code, message))
                self._say_warning(code, message)

    def _eta_s(self, now: float) -> float | None:
        """Seconds left over all stages, from what has passed and each stage's usual share; None while too little is known."""
        latest = max((STAGES.index(s) for s in self._fractions if s in STAGES), default=0)
        done = 0.0
        for index, stage in enumerate(STAGES):
            # Stages overlap (tracking and depth); one that never ran, with a later one running, was skipped.
            fraction = self._fractions.get(stage, 1.0 if index + 1 < latest else 0.0)
            done += _SHARES[stage] * fraction
        elapsed = now - self._began
        if done < 0.03 or elapsed < 0.5:
            return None
        return max(elapsed * (sum(_SHARES.values()) - done) / done, 0.0)

    def error(self, error: HoldfastError) -> None:
        """Report the failure that ends the run."""
        with self._lock:
            self._say_error(error)

    def result(self, fields: dict[str, Any]) -> None:
        """Report what was made; `fields` has at least "out" and "summary"."""
        with self._lock:
            self._say_result(fields)

    def shot(self, done: int, total: int, name: str, status: str, text: str, facts: dict[str, Any]) -> None:
        """Report that a shot of a batch has ended, the `done`th of `total`."""
        with self._lock:
            self._say_shot(done, total, name, status, text, facts)

    def event(self, name: str, /, **fields: Any) -> None:
        """Pass on an event for programs (e.g. "preview"); people are not shown it."""

    def _say_progress(self, stage: str, done: int, total: int, eta_s: float | None) -> None: ...

    def _say_warning(self, code: str, message: str) -> None: ...

    def _say_error(self, error: HoldfastError) -> None: ...

    def _say_result(self, fields: dict[str, Any]) -> None: ...

    def _say_shot(self, done: int, total: int, name: str, status: str, text: str, facts: dict[str, Any]) -> None: ...


class JsonReporter(Reporter):
    """One JSON object per line, flushed each time."""

    wants_preview = True

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stdout

    def event(self, name: str, /, **fields: Any) -> None:
        """Write {"event": name, ...}."""
        with self._lock:
            try:
                self._stream.write(_json_line({"event": name, **fields}) + "\n")
                self._stream.flush()
            except (BrokenPipeError, OSError):
                os._exit(EXIT_CANCELLED)

    def _say_progress(self, stage: str, done: int, total: int, eta_s: float | None) -> None:
        eta = None if eta_s is None else round(eta_s, 1)
        self.event("progress", stage=stage, done=int(done), total=int(total), eta_s=eta)

    def _say_warning(self, code: str, message: str) -> None:
        self.event("warning", code=code, message=message)

    def _say_error(self, error: HoldfastError) -> None:
        self.event("error", code=error.code, message=error.message, hint=error.hint)

    def _say_result(self, fields: dict[str, Any]) -> None:
        self.event("result", **fields)

    def _say_shot(self, done: int, total: int, name: str, status: str, text: str, facts: dict[str, Any]) -> None:
        self.event("shot", name=name, status=status, done=done, total=total, **facts)


class TextReporter(Reporter):
    """A line of text that is renewed in place on a terminal; in a file or pipe, one line as each stage begins and ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._open_line = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (BrokenPipeError, OSError):
            os._exit(EXIT_CANCELLED)

    def _line(self, text: str) -> None:
        self._write(("\r\033[K" if self._open_line else "") + text + "\n")
        self._open_line = False

    def _say_progress(self, stage: str, done: int, total: int, eta_s: float | None) -> None:
        words = STAGE_WORDS.get(stage, stage)
        finished = total > 0 and done >= total
        if finished:
            spent = time.monotonic() - self._stage_began[stage]
            self._line(f"{words}: {done} of {total} in {spent:.1f} s" if total > 1 else f"{words}: done in {spent:.1f} s")
        elif self._live:
            left = "" if eta_s is None else f", about {duration(eta_s)} left"
            count = f" {done} of {total}" if total > 1 else ""
            self._write(f"\r\033[K{words}{count}{left}")
            self._open_line = True

    def _say_warning(self, code: str, message: str) -> None:
        self._line(f"Note: {message}")

    def _say_error(self, error: HoldfastError) -> None:
        self._line(f"Error: {error.message}\n       {error.hint}" if error.hint else f"Error: {error.message}")

    def _say_result(self, fields: dict[str, Any]) -> None:
        self._line(str(fields.get("summary", "Done.")))
        if fields.get("out") and "report" not in fields:
            self._line(f"Results: {fields['out']}")

    def _say_shot(self, done: int, total: int, name: str, status: str, text: str, facts: dict[str, Any]) -> None:
        self._line(f"[{done} of {total}] {text}")


def duration(seconds: float) -> str:
    """'8 s', '2 min 05 s', '1 h 10 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _json_line(fields: dict[str, Any]) -> str:
    """Strict JSON on one line: numbers that are not finite become null."""
    try:
        return json.dumps(fields, default=_plain, allow_nan=False)
    except ValueError:
        loose = json.loads(json.dumps(fields, default=_plain), parse_constant=lambda _: None)
        return json.dumps(loose, allow_nan=False)


def _plain(value: Any) -> Any:
    """numpy values as plain ones, without importing numpy here."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
