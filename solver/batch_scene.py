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


def check_blender(blender: str) -> str:
    """The absolute path of a Blender named in the options. Raises HoldfastError (scene.no_blender)."""
    import shutil

    found = shutil.which(os.path.expanduser(blender))
    if found is None:
        raise HoldfastError(
            "scene.no_blender", f"There is no Blender at {blender}.",
            "Give the program's path (Blender 4.2 or newer, or a Python with bpy).", EXIT_INPUT,
        )  # fmt: skip
    return os.path.abspath(found)


def make_scene(blender: str, folder: Path, clip: str, name: str, formats: list[str]) -> None:
    """Write `name`.blend and `name`.usd, .abc, .fbx as asked for into the shot's folder.

    Raises HoldfastError (scene.*) with what Blender said.
    """
    command = [*command_line(blender), str(folder), clip, str(folder / f"{name}.blend"), ",".join(formats)]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=environment,
        )  # fmt: skip
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise HoldfastError(
            "scene.no_blender", f"{blender} cannot be started ({why}).", "Correct --blender.", EXIT_INPUT
        ) from error
    take_back = on_end(process.kill)
    try:
        said, _ = process.communicate(timeout=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        said = ""
    finally:
        take_back()
    for line in said.splitlines():
        if line.strip():
            _log.debug("Blender: %s", line.rstrip())
    answer = _answer(said)
    if process.returncode == 0 and "made" in answer:
        return
    reason = answer.get("error") or _last_line(said) or f"it ended with code {process.returncode}"
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
