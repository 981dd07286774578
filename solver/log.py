"""The log of a run: one file per shot, for people or (JSON lines) for pipelines; and what to do when a bug shows."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

LOG_NAME = "solver.log"
_logger = logging.getLogger("solver")


class _TextFormat(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(elapsed)9.2f s  %(levelname)-7s %(message)s")
        self._began = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        record.elapsed = time.monotonic() - self._began
        return super().format(record)


class _JsonFormat(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields.update(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(fields, default=str)


class RunLog:
    """Keeps what is said until the job folder exists, then writes it there line by line.

    Other modules write to `logging.getLogger("solver.<name>")`.
    """

    def __init__(self, log_format: str = "text") -> None:
        self._format = _JsonFormat() if log_format == "json" else _TextFormat()
        self._buffer = _Buffer()
        self._buffer.setFormatter(self._format)
        self.path: Path | None = None
        _logger.setLevel(logging.DEBUG)
        _logger.propagate = False
        _logger.handlers[:] = [self._buffer]

    def open_in(self, folder: Path, name: str = LOG_NAME, append: bool = False) -> None:
        """Write the log to `folder` from now on, beginning with what was said before; `append` keeps what stands there."""
        path = folder / name
        handler = logging.FileHandler(path, mode="a" if append else "w", encoding="utf-8")
        handler.setFormatter(self._format)
        for line in self._buffer.lines:
            handler.stream.write(line + "\n")
        handler.flush()
        _logger.handlers[:] = [handler]
        self.path = path

    def bug(self) -> Path:
        """Log the exception being handled; returns the file that has it (a temporary one if there is no job folder yet)."""
        _logger.error("Unexpected failure", exc_info=sys.exc_info())
        if self.path is None:
            handle, name = tempfile.mkstemp(prefix="holdfast-", suffix=".log")
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write("\n".join(self._buffer.lines) + "\n")
            return Path(name)
        return self.path


class _Buffer(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def say(message: str, **fields: object) -> None:
    """One line of the log; `fields` are kept apart in JSON logs."""
    _logger.info(message, extra={"fields": fields})


def say_environment(version: str, arguments: list[str]) -> None:
    """First lines of a log: what ran, on what."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    say(f"Holdfast {version}, Python {platform.python_version()}, {machine}")
    say("Options: " + " ".join(arguments))
