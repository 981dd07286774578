# SPDX-License-Identifier: GPL-3.0-or-later
"""A solve as a process: start it, listen to it without ever waiting, end it, and say clearly what became of it.

No Blender here. A thread per pipe reads lines into queues; `poll` takes what has arrived, for at most a few
milliseconds, and moves the state machine on:

    IDLE -> RUNNING -> DONE | FAILED
                    -> CANCELLING -> CANCELLED
"""

from __future__ import annotations

import collections
import contextlib
import enum
import os
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path

from . import events, live

KILL_AFTER_S = 0.5  # a solver that does not end by itself within this time after Cancel is killed
DRAIN_S = 1.0  # how long pipes may stay open after the process ended (a grandchild may hold them)
EXIT_CANCELLED = 7

# What the solver's exit codes mean, for the case that it ended without an error event.
EXIT_WORDS = {
    1: "the solver stopped on an internal error",
    2: "the solver did not understand its options",
    3: "the clip cannot be used",
    4: "the depth network cannot be used",
    5: "the results cannot be written",
    6: "no camera could be found for this clip",
    7: "the solve was interrupted",
}


class JobState(enum.Enum):
    """Where a job stands."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def active(self) -> bool:
        """True while there is a process to listen to."""
        return self in (JobState.RUNNING, JobState.CANCELLING)


class SolverJob:
    """One run of the solver.

    command: the whole command line. env: the process's environment. cwd: where it runs. out_dir: its job folder.
    Public results: `state`, `stage`, `done`, `total`, `fraction`, `eta_s`, `warnings`, `message`, `hint`, `code`,
    `result` (the result event's fields), `picture` (what the preview events show).
    """

    def __init__(
        self,
        command: list[str],
        out_dir: str | os.PathLike,
        env: dict[str, str] | None = None,
        cwd: str | os.PathLike | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.out_dir = Path(out_dir)
        self.env = env
        self.cwd = str(cwd) if cwd else None
        self.state = JobState.IDLE
        self.stage = "open"
        self.done = 0.0
        self.total = 0.0
        self.fraction = 0.0
        self.eta_s: float | None = None
        self.warnings: list[str] = []
        self.message = ""
        self.hint = ""
        self.code = ""
        self.result: dict = {}
        self.picture = live.LivePicture()
        self.exit_code: int | None = None
        self.started_at = 0.0
        self.ended_at = 0.0
        self.first_event_s: float | None = None
        self._process: subprocess.Popen | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: collections.deque[str] = collections.deque(maxlen=40)
        self._threads: list[threading.Thread] = []
        self._kill_at = 0.0
        self._gone_at = 0.0
        self._error_event: events.Event | None = None

    # ---- start and end

    def start(self) -> None:
        """Start the process. A process that cannot be started makes the job FAILED; nothing is raised."""
        if self.state is not JobState.IDLE:
            raise RuntimeError("a job starts once")
        self.started_at = time.monotonic()
        try:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                bufsize=1,
                **_own_group(),
            )
        except (OSError, ValueError) as error:
            self._finish(
                JobState.FAILED,
                "job.cannot_start",
                f"The solver could not be started: {error}",
                "Check the Python chosen in Holdfast's preferences",
            )
            return
        self.state = JobState.RUNNING
        for pipe, sink in ((self._process.stdout, self._lines.put), (self._process.stderr, self._errors.append)):
            thread = threading.Thread(target=_read_lines, args=(pipe, sink), name="holdfast-reader", daemon=True)
            thread.start()
            self._threads.append(thread)

    def cancel(self) -> None:
        """Ask the process to end; `poll` kills it if it has not done so half a second later. Returns at once."""
        if self.state is not JobState.RUNNING or self._process is None:
            return
        self.state = JobState.CANCELLING
        self._kill_at = time.monotonic() + KILL_AFTER_S
        _signal_group(self._process, signal.SIGTERM)

    def kill(self) -> None:
        """End the process now and wait for it: for when Blender quits or the add-on is disabled."""
        if self._process is not None and self._process.poll() is None:
            _signal_group(self._process, getattr(signal, "SIGKILL", signal.SIGTERM))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=2.0)
        if self.state.active:
            self._finish(JobState.CANCELLED, "job.cancelled", "Cancelled", "")

    # ---- listening

    def poll(self, budget_s: float = 0.004) -> bool:
        """Take what has arrived, for at most budget_s. True when something changed that a user would see."""
        if not self.state.active:
            return False
        changed = False
        deadline = time.monotonic() + budget_s
        while time.monotonic() < deadline:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            event = events.parse_line(line)
            if event is not None:
                changed = self._take(event) or changed
        return self._watch_process() or changed

    def wait(self, on_change=None, interval_s: float = 0.05) -> JobState:
        """Listen until the end: the way without an event loop. Ctrl-C cancels. on_change(job) is called after changes."""
        while self.state.active:
            try:
                if self.poll(budget_s=0.5) and on_change:
                    on_change(self)
                time.sleep(interval_s)
            except KeyboardInterrupt:
                self.cancel()
        return self.state

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, up to the end."""
        return (self.ended_at or time.monotonic()) - self.started_at if self.started_at else 0.0

    @property
    def errors_tail(self) -> list[str]:
        """The last lines of the solver's standard error."""
        return list(self._errors)

    def _take(self, event: events.Event) -> bool:
        if self.first_event_s is None:
            self.first_event_s = time.monotonic() - self.started_at
        if event.kind == "progress":
            self.stage = event.text("stage", self.stage)
            self.done = event.number("done", 0.0)
            self.total = event.number("total", 0.0)
            # Stages may overlap (depth while tracking): the bar never goes back.
            self.fraction = max(self.fraction, events.overall_fraction(self.stage, self.done, self.total))
            self.eta_s = event.number("eta_s")
        elif event.kind == "warning":
            self.warnings.append(event.text("message"))
        elif event.kind == "preview":
            return self.picture.take(event.data)
        elif event.kind == "result":
            self.result = event.data
        elif event.kind == "error":
            self._error_event = event
        else:
            return False
        return True

    def _watch_process(self) -> bool:
        now = time.monotonic()
        code = self._process.poll()
        if code is None:
            if self.state is JobState.CANCELLING and now > self._kill_at:
                _signal_group(self._process, getattr(signal, "SIGKILL", signal.SIGTERM))
            return False
        self._gone_at = self._gone_at or now
        reading = any(thread.is_alive() for thread in self._threads)
        if (reading and now - self._gone_at < DRAIN_S) and self.state is not JobState.CANCELLING:
            return False
        if not self._lines.empty():  # what arrived with the end is taken within the budget of the next polls
            return False
        self._conclude(code)
        return True

    def _conclude(self, code: int) -> None:
        self.exit_code = code
        if self.state is JobState.CANCELLING or (code == EXIT_CANCELLED and self._error_event is None):
            self._finish(JobState.CANCELLED, "job.cancelled", "Cancelled", "")
        elif self._error_event is not None:
            event = self._error_event
            self._finish(
                JobState.FAILED, event.text("code", "solver.error"), event.text("message", "The solve failed"), event.text("hint")
            )
        elif code == 0 and (self.out_dir / "solve.json").is_file():
            self.fraction = 1.0
            self._finish(JobState.DONE, "", str(self.result.get("summary", "Solved")), "")
        elif code == 0:
            self._finish(
                JobState.FAILED,
                "job.no_result",
                f"The solver ended without a result in {self.out_dir}",
                "Check that the folder is writable",
            )
        else:
            self._finish(JobState.FAILED, "job.died", self._death(code), f"Details: {self.out_dir / 'solver.log'}")

    def _death(self, code: int) -> str:
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            words = f"the solver was ended from outside ({name})"
            if name == "SIGKILL":
                words += ", often because memory ran out"
        else:
            words = EXIT_WORDS.get(code, f"the solver ended with code {code}")
        last = next((line.strip() for line in reversed(self._errors) if line.strip()), "")
        return words[0].upper() + words[1:] + (f": {last}" if last else "")

    def _finish(self, state: JobState, code: str, message: str, hint: str) -> None:
        self.state, self.code, self.message, self.hint = state, code, message, hint
        self.ended_at = time.monotonic()
        self.eta_s = None
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def _read_lines(pipe, sink) -> None:
    """Thread: hand every line of a pipe to sink until it closes."""
    try:
        for line in pipe:
            sink(line)
    except (OSError, ValueError):
        pass
    finally:
        with contextlib.suppress(OSError):
            pipe.close()


def _own_group() -> dict:
    """Popen options that put the solver and its children into a group of their own, without a console window."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _signal_group(process: subprocess.Popen, number: int) -> None:
    """Signal the process and its children."""
    try:
        if os.name == "nt":
            process.terminate()
        else:
            os.killpg(process.pid, number)
    except (OSError, ProcessLookupError):
        pass
