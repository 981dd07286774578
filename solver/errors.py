"""Errors a user can act on, and the exit codes they end the process with."""

from __future__ import annotations

EXIT_OK = 0
EXIT_INTERNAL = 1  # a bug: details in the log
EXIT_USAGE = 2  # options that do not fit
EXIT_INPUT = 3  # the clip, mask or depth maps cannot be used
EXIT_MODEL = 4  # the depth network is missing or unusable
EXIT_OUTPUT = 5  # the results cannot be written
EXIT_UNSOLVED = 6  # the clip is fine, but no camera could be found
EXIT_CANCELLED = 7  # interrupted, or the parent process ended


class HoldfastError(Exception):
    """A failure with a code, what happened (one line) and what to do about it.

    code: short and stable, e.g. "clip.not_a_video"; exit_code: one of EXIT_*.
    """

    def __init__(self, code: str, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
