"""The Blender side of a shot in a batch: a process that makes the `.blend` and the exports only Blender can write."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path

from .errors import EXIT_INPUT, EXIT_OUTPUT, HoldfastError
from .lifetime import on_end

SCENE_FORMATS = ("usd", "alembic", "fbx")
BLEND = "blend"
_PROGRAM = Path(__file__).resolve().parents[1] / "addon" / "scene_process.py"
_MARK = "holdfast-scene "
_TIME_LIMIT_S = 1800.0

_log = logging.getLogger("solver.scene")


def command_line(blender: str) -> list[str]:
    """How to start the program: `blender` is a Blender, or a Python with bpy (told by its name)."""
    if Path(blender).name.lower().startswith("python"):
        return [blender, str(_PROGRAM)]
    return [blender, "-b", "--factory-startup", "--python-exit-code", "1", "-P", str(_PROGRAM), "--"]


def check_blender(blender: str) -> tuple[str, tuple[str, ...]]:
    """(absolute path, formats it can write) of a Blender named in the options. Raises HoldfastError (scene.no_blender).

    It is started once: a batch over a night should not find out in the morning that its Blender does not run.
    """
    import shutil

    found = shutil.which(os.path.expanduser(blender))
    if found is None:
        raise HoldfastError(
            "scene.no_blender", f"There is no Blender at {blender}.",
            "Give the program's path (Blender 4.2 or newer, or a Python with bpy).", EXIT_INPUT,
        )  # fmt: skip
    path = os.path.abspath(found)
    code, said = _run(path, ["--formats"], 120.0)
    answer = _answer(said)
    if "formats" not in answer:
        reason = _last_line(said) or f"it ended with code {code}"
        raise HoldfastError(
            "scene.no_blender", f"{blender} is no Blender that can make scenes: {reason.rstrip('.')}.",
            "Give one of version 4.2 or newer, or a Python with bpy.", EXIT_INPUT,
        )  # fmt: skip
    _log.info("Blender %s at %s writes %s", answer.get("version"), path, ", ".join(answer["formats"]))
    return path, tuple(answer["formats"])


def _run(blender: str, arguments: list[str], time_limit_s: float) -> tuple[int, str]:
    """Exit code and output of a run of the program; it ends with this process."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")}
    try:
        process = subprocess.Popen(
            [*command_line(blender), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=environment,
        )  # fmt: skip
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise HoldfastError(
            "scene.no_blender", f"{blender} cannot be started ({why}).", "Correct --blender.", EXIT_INPUT
        ) from error
    take_back = on_end(process.kill)
    try:
        said, _ = process.communicate(timeout=time_limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        said = (process.communicate()[0] or "") + f"\nError: it was stopped after {time_limit_s:.0f} s"
    finally:
        take_back()
    return process.returncode, said


def make_scene(blender: str, folder: Path, clip: str, name: str, formats: list[str]) -> None:
    """Write `name`.blend and `name`.usd, .abc, .fbx as asked for into the shot's folder.

    Raises HoldfastError (scene.*) with what Blender said.
    """
    arguments = [str(folder), clip, str(folder / f"{name}.blend"), ",".join(formats)]
    code, said = _run(blender, arguments, _TIME_LIMIT_S)
    for line in said.splitlines():
        if line.strip():
            _log.debug("Blender: %s", line.rstrip())
    answer = _answer(said)
    if code == 0 and "made" in answer:
        return
    reason = answer.get("error") or _last_line(said) or f"it ended with code {code}"
    raise HoldfastError(
        "scene.failed",
        f"The camera is solved, but Blender could not make the scene: {reason.rstrip('.')}.",
        "What Blender said stands in the shot's solver.log; run the batch again to try only this step again.",
        EXIT_OUTPUT,
    )


def _answer(said: str) -> dict:
    for line in reversed(said.splitlines()):
        if line.startswith(_MARK):
            try:
                return json.loads(line[len(_MARK) :])
            except ValueError:
                break
    return {}


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line] or lines
    return telling[-1] if telling else ""
