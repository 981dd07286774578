"""Ending when told to, and when the parent process ends: at once, with exit code 7, and with nothing half-written.

Long calls into compiled code hold back Python's own signal handlers, so a thread waits for the signals' wake-up bytes and ends
the process itself. Files are safe because results are put in place under `finishing()`, which the end waits for.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .errors import EXIT_CANCELLED

_POLL_S = 0.25
_finishing = threading.Lock()
_cleanups: list[Callable[[], None]] = []
_ending = threading.Lock()
_exit_code = [EXIT_CANCELLED]


def set_cancel_exit_code(code: int) -> None:
    """Exit code of a cancelled run where it is not the usual one (a batch counts failures with the low ones)."""
    _exit_code[0] = code


@contextmanager
def finishing() -> Iterator[None]:
    """Hold the process alive for the moment in which finished files are renamed into place."""
    with _finishing:
        yield


def on_end(cleanup: Callable[[], None]) -> Callable[[], None]:
    """Have `cleanup` called (quickly, once) if the process is ended from outside; returns a function that takes it back."""
    _cleanups.append(cleanup)
    return lambda: _cleanups.remove(cleanup) if cleanup in _cleanups else None


def end_process(reason: str) -> None:
    """End the process now, with exit code 7 unless set otherwise, after removing temporary files."""
    if not _ending.acquire(blocking=False):
        return
    held = _finishing.acquire(timeout=5.0)
    try:
        for cleanup in reversed(list(_cleanups)):
            with suppress(Exception):  # the end must come whatever a clean-up does
                cleanup()
        try:
            sys.stderr.write(f"\nCancelled: {reason}.\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass
    finally:
        if held:
            _finishing.release()
        os._exit(_exit_code[0])


def install_signal_handlers() -> None:
    """Make SIGINT (Ctrl-C) and SIGTERM end the process at once. Call from the main thread."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    if os.name == "nt":  # the wake-up descriptor must be a socket there; the plain handler serves
        for name in names:
            signal.signal(getattr(signal, name), lambda number, _frame: end_process("interrupted"))
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for name in names:
        signal.signal(getattr(signal, name), lambda number, _frame: None)  # a handler must exist for the byte to be written
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait() -> None:
        wanted = {int(getattr(signal, name)) for name in names}
        while True:
            received = os.read(reader, 1)
            if received and received[0] in wanted:
                end_process("interrupted" if received[0] == signal.SIGINT else "asked to end")

    threading.Thread(target=wait, name="holdfast-signals", daemon=True).start()


def watch_parent() -> None:
    """End this process within a second after its parent ends.

    Not under `nohup` (SIGHUP ignored): there the user asked for the opposite.
    """
    if os.name == "nt":
        _watch_parent_windows()
        return
    parent = os.getppid()
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return
    # Linux's prctl(PR_SET_PDEATHSIG) would be quicker, but fires when the *thread* that started us ends: a launcher's worker
    # thread that has done its job would end the solve.

    def poll() -> None:
        pause = threading.Event()
        while os.getppid() == parent:
            pause.wait(_POLL_S)
        end_process("the parent process ended")

    threading.Thread(target=poll, name="holdfast-parent", daemon=True).start()


def _watch_parent_windows() -> None:
    import ctypes

    synchronize = 0x00100000
    kernel = ctypes.windll.kernel32
    handle = kernel.OpenProcess(synchronize, False, os.getppid())
    if not handle:
        return

    def wait() -> None:
        kernel.WaitForSingleObject(handle, 0xFFFFFFFF)
        end_process("the parent process ended")

    threading.Thread(target=wait, name="holdfast-parent", daemon=True).start()
