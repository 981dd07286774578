# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the solver is, which Python runs it, and how settings become its command line. No Blender here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PYTHON_VARIABLE = "HOLDFAST_PYTHON"


def solver_root() -> Path:
    """The folder that holds the `solver` package: the installed extension, or the repository."""
    return Path(__file__).resolve().parent.parent


def find_python(preferred: str = "") -> str:
    """The Python that runs the solver: the environment variable, the preference, else Blender's own.

    Raises FileNotFoundError, with what to do, when none of them exists.
    """
    for source, path in (
        (f"the variable {PYTHON_VARIABLE}", os.environ.get(PYTHON_VARIABLE, "")),
        ("Holdfast's preferences", preferred),
    ):
        if path:
            if not Path(path).is_file():
                raise FileNotFoundError(f"No Python at {path}; correct {source} or leave it empty")
            return path
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    beside = []
    for prefix in dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix)):
        beside += [
            Path(prefix, "bin", name),
            Path(prefix, "bin", "python3"),
            Path(prefix, "bin", "python.exe"),
            Path(prefix, "python.exe"),
        ]
    # Some builds report Blender itself as sys.executable: only something called python will do.
    candidates = [Path(sys.executable)] if sys.executable and Path(sys.executable).name.lower().startswith("python") else []
    for path in candidates + beside:
        if path.is_file():
            return str(path)
    raise FileNotFoundError(f"No Python found beside Blender; name one in Holdfast's preferences or in {PYTHON_VARIABLE}")


def environment(python: str) -> dict[str, str]:
    """The solver's environment: its package and the extension's wheels on the path, nothing of Blender's own settings."""
    env = dict(os.environ)
    for name in ("PYTHONHOME", "PYTHONSTARTUP"):
        env.pop(name, None)
    paths = [str(solver_root())]
    if _same_python(python):
        # Wheels are installed for Blender's own Python; another one must bring its packages itself.
        paths += [
            p for p in sys.path if Path(p).name == "site-packages" and ".local" in Path(p).parts and "extensions" in Path(p).parts
        ]
        env.setdefault("PYTHONNOUSERSITE", "1")
    if env.get("PYTHONPATH"):
        paths.append(env["PYTHONPATH"])
    env["PYTHONPATH"] = os.pathsep.join(paths)
    env["PYTHONIOENCODING"] = "utf-8"
    env["PYTHONUNBUFFERED"] = "1"
    return env


def _same_python(python: str) -> bool:
    try:
        return python == find_python() and not os.environ.get(PYTHON_VARIABLE)
    except FileNotFoundError:
        return False


# Options that take a value as it is, by the key of the settings.
_VALUE_OPTIONS = {
    "start": "--start",
    "end": "--end",
    "step": "--step",
    "focal_px": "--focal-px",
    "focal_mm": "--focal-mm",
    "sensor_mm": "--sensor-mm",
    "focal": "--focal",
    "motion": "--motion",
    "distortion": "--distortion",
    "mask": "--mask",
    "depth_model": "--depth-model",
    "depth_maps": "--depth-maps",
    "device": "--device",
    "quality": "--quality",
    "seed": "--seed",
    "threads": "--threads",
    "user_tracks": "--user-tracks",
    "rolling_shutter": "--rolling-shutter",
    "steady": "--steady",
    "log_format": "--log-format",
}


def command_line(python: str, clip_path: str, out_dir: str, settings: dict | None = None) -> list[str]:
    """The solver's command line.

    settings: any of the keys above. None and "" are left out; the solver then decides. Raises KeyError for a setting that
    does not exist.
    """
    command = [python, "-m", "solver", "solve", str(clip_path), "--out", str(out_dir), "--events"]
    for key, value in (settings or {}).items():
        option = _VALUE_OPTIONS[key]
        if value is None or value == "":
            continue
        text = f"{value:.9g}" if isinstance(value, float) else str(value)
        # A value of its own could look like an option ("-1"): joined it cannot.
        command.append(f"{option}={text}")
    return command
