"""Running the jobs of a batch on the workers of a Dask scheduler.

The machines share a file system and a Python with Holdfast's requirements; nothing is installed into the workers.
Each task is one process (`batch-shot`), which ends when its worker is killed; Dask then gives the task to another
worker, which takes over the shot's lock.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from .batch_run import Outcome, command_line, settle
from .batch_shot import Job
from .batch_state import read_state
from .errors import EXIT_INPUT, EXIT_USAGE, HoldfastError

RETRIES = 5  # of tasks whose worker was lost


class DaskRunner:
    """A connection to a scheduler. Raises HoldfastError (batch.dask, batch.no_dask) when there is none."""

    def __init__(self, address: str, python: str | None = None) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise HoldfastError(
                "batch.no_dask", "--dask needs the package `distributed`, which is not installed.",
                "Install it (pip install distributed), or leave --dask out to use this machine.", EXIT_USAGE,
            ) from None  # fmt: skip
        try:
            self._client = Client(address, timeout="20s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise HoldfastError(
                "batch.dask", f"No Dask scheduler answers at {address} ({type(error).__name__}).",
                "Start one with `dask scheduler`, and workers with `dask worker ADDRESS`.", EXIT_INPUT,
            ) from error  # fmt: skip
        self._python = python

    def workers(self) -> int:
        """Tasks that can run at the same time."""
        return sum(worker["nthreads"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values())

    def run(self, jobs: list[Job], job_files: dict[str, Path]) -> Iterator[Outcome]:
        """Solve all jobs on the workers; yields each as it ends."""
        from distributed import as_completed

        run_id = uuid.uuid4().hex[:8]
        pending = {}
        for job in jobs:
            before = read_state(job.folder).get("finished_at")
            command = command_line(job_files[job.shot.name], "--log-format", job.log_format, "--wait", python=self._python)
            future = self._client.submit(
                subprocess.call, command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                key=f"holdfast-{run_id}-{job.shot.name}", pure=False, retries=RETRIES,
            )  # fmt: skip
            pending[future.key] = (future, job, before)
        for future in as_completed([entry[0] for entry in pending.values()], loop=self._client.loop):
            _, job, before = pending[future.key]
            if future.status == "finished":
                yield Outcome(job, settle(job, int(future.result()), before, []))
            else:
                why = f"Dask gave it up: {future.exception()}"
                yield Outcome(job, settle(job, 1, before, [why[:300]]))

    def close(self) -> None:
        """End the connection; the workers stay."""
        self._client.close()
