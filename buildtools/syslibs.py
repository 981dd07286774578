"""System libraries that the wheels link to and do not bring: found on Linux, installed on Debian where that is allowed."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

from buildtools.say import BuildError, note, step

# soname -> Debian package. Blender as a module links to these even when nothing is ever shown.
BLENDER = {
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
}
# The bench's renderer: OpenGL without a screen.
RENDERER = {"libEGL.so.1": "libegl1", "libGL.so.1": "libgl1", "libGLESv2.so.2": "libgles2"}
RENDERER_EXTRA = ("libgl1-mesa-dri", "libegl-mesa0")


def missing(wanted: dict[str, str]) -> dict[str, str]:
    """The part of `wanted` that the loader does not find; empty on Windows and macOS."""
    if not sys.platform.startswith("linux"):
        return {}
    absent = {}
    for soname, package in wanted.items():
        try:
            ctypes.CDLL(soname)
        except OSError:
            absent[soname] = package
    return absent


def ensure(wanted: dict[str, str], reason: str, extra_packages: tuple[str, ...] = ()) -> None:
    """Install what is missing by apt-get when that is possible; otherwise raise BuildError with the command to run."""
    absent = missing(wanted)
    if not absent:
        return
    packages = sorted(set(absent.values()) | set(extra_packages))
    command = "apt-get install -y --no-install-recommends " + " ".join(packages)
    may_install = shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0
    if not may_install:
        prefix = "sudo " if shutil.which("apt-get") else "with your package manager, the like of: "
        what = f"{reason} needs system libraries that are missing: {', '.join(absent)}."
        raise BuildError(what, f"Install them: {prefix}{command}")
    step(f"Installing system libraries for {reason}: {', '.join(packages)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for line in ("apt-get update -q", command):
        done = subprocess.run(line.split(), capture_output=True, text=True, env=environment)
        if done.returncode:
            tail = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            note(f"{line.split()[1]} failed: {tail[0]}")
    still = missing(wanted)
    if still:
        what = f"{reason} needs system libraries that could not be installed: {', '.join(still)}."
        raise BuildError(what, f"Install them by hand: {command}")
