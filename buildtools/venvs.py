"""The project's own environments: made from pinned requirement files, kept while those do not change, repaired when broken."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from buildtools.say import BuildError, note, step

ROOT = Path(__file__).resolve().parent.parent
STAMP_NAME = ".holdfast-requirements"
INSTALL_TRIES = 3


@dataclass(frozen=True)
class Venv:
    """One environment: the folder, its requirement file, and what it is for (shown while it installs)."""

    folder: str
    requirements: str
    purpose: str

    @property
    def path(self) -> Path:
        return ROOT / self.folder

    @property
    def python(self) -> Path:
        return self.path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def requirement_file(self) -> Path:
        return ROOT / "requirements" / self.requirements


MAIN = Venv(".venv", "venv.txt", "solver, tests and Blender 4.5 as a module (about 1 GB on disk)")
BPY42 = Venv(".venv-bpy42", "bpy42.txt", "Blender 4.2 as a module, for the add-on's tests")
BPY50 = Venv(".venv-bpy50", "bpy50.txt", "Blender 5.0 as a module, for the add-on's tests")
BENCH = Venv(".venv-bench", "bench.txt", "the bench's renderer, peers and plots")


def find_python311() -> str:
    """Path of a Python 3.11 with `venv`. Raises BuildError saying what to install."""
    candidates = [sys.executable] if sys.version_info[:2] == (3, 11) else []
    candidates += [shutil.which("python3.11"), shutil.which("python3"), shutil.which("python")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += sorted((str(p) for p in pyenv.glob("3.11*/bin/python")), reverse=True)
    if os.name == "nt":
        local = os.environ.get("LOCALAPPDATA", "")
        candidates += [str(Path(local) / "Programs/Python/Python311/python.exe"), r"C:\Python311\python.exe"]
    elif sys.platform == "darwin":
        candidates += ["/opt/homebrew/bin/python3.11", "/usr/local/bin/python3.11"]
    seen_without_venv = None
    for candidate in dict.fromkeys(c for c in candidates if c and Path(c).exists()):
        probe = "import sys; assert sys.version_info[:2] == (3, 11); import venv, ensurepip; print(sys.executable)"
        done = subprocess.run([candidate, "-c", probe], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.strip()
        if "ensurepip" in done.stderr or "No module named 'venv'" in done.stderr:
            seen_without_venv = candidate
    hint = {
        "win32": "Install it from python.org (3.11.x, 64-bit), then run this again.",
        "darwin": "Install it with `brew install python@3.11`, then run this again.",
    }.get(sys.platform, "On Debian and Ubuntu: `apt install python3.11 python3.11-venv`; elsewhere `pyenv install 3.11`.")
    if seen_without_venv:
        raise BuildError(f"{seen_without_venv} is Python 3.11, but its venv module is missing.", hint)
    here = ".".join(map(str, sys.version_info[:2]))
    raise BuildError(f"Python 3.11 is needed (Blender's module is built for it) and was not found; this one is {here}.", hint)


def fingerprint(venv: Venv) -> str:
    """What an environment was made from: its requirement lines, and the machine."""
    lines = [line.strip() for line in venv.requirement_file.read_text(encoding="utf-8").splitlines()]
    wanted = "\n".join(line for line in lines if line and not line.startswith("#"))
    return hashlib.sha256(f"{wanted}\n{sys.platform} {platform.machine()}".encode()).hexdigest()


def is_ready(venv: Venv) -> bool:
    """True where the environment matches its requirement file and its interpreter still starts."""
    stamp = venv.path / STAMP_NAME
    if not (stamp.exists() and venv.python.exists() and stamp.read_text().strip() == fingerprint(venv)):
        return False
    return subprocess.run([str(venv.python), "-c", "pass"], capture_output=True).returncode == 0


def ensure(venv: Venv) -> Path:
    """Make the environment if need be; returns its interpreter. Raises BuildError when it cannot be installed."""
    if is_ready(venv):
        return _compiled(venv)
    base = find_python311()
    step(f"Installing {venv.folder}: {venv.purpose}")
    (venv.path / STAMP_NAME).unlink(missing_ok=True)
    for attempt in range(1, INSTALL_TRIES + 1):
        if attempt == INSTALL_TRIES or not venv.python.exists():  # a broken folder is not worth mending a third time
            shutil.rmtree(venv.path, ignore_errors=True)
            made = subprocess.run([base, "-m", "venv", str(venv.path)], capture_output=True, text=True)
            if made.returncode:
                raise BuildError(f"{venv.folder} cannot be made: {_last_line(made.stderr or made.stdout)}")
        code, tail = _pip_install(venv)
        if code == 0:
            (venv.path / STAMP_NAME).write_text(fingerprint(venv) + "\n")
            note(f"{venv.folder} is ready")
            return _compiled(venv)
        note(f"try {attempt} of {INSTALL_TRIES} failed: {tail}")
        time.sleep(2 * attempt)
    raise BuildError(
        f"{venv.folder} cannot be installed: {tail}",
        f"Check the network and the disk's free space (2 GB); to start afresh delete {venv.folder} and run this again.",
    )


def _compiled(venv: Venv) -> Path:
    """The environment's interpreter. The solver is compiled here: where Python may not keep what it compiles, each solve would do
    so anew, which takes a quarter of a second."""
    if venv is MAIN:
        subprocess.run([str(venv.python), "-m", "compileall", "-q", "solver"], cwd=ROOT, capture_output=True)
    return venv.python


def _pip_install(venv: Venv) -> tuple[int, str]:
    """Run pip, showing one line per package and a sign of life; returns its exit code and its last error line."""
    command = [str(venv.python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    process = subprocess.Popen(
        [*command, "-r", str(venv.requirement_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=ROOT,
    )
    done = threading.Event()
    pulse = threading.Thread(target=_pulse, args=(done,), daemon=True)
    pulse.start()
    last_error = ""
    assert process.stdout is not None
    try:
        for raw in process.stdout:
            line = raw.strip()
            if line.startswith(("ERROR", "error")):
                last_error = last_error or line
            if line.startswith("Downloading "):
                note("fetching " + line[len("Downloading ") :].rsplit("/", 1)[-1].replace(".metadata", ""))
            elif line.startswith("Installing collected packages"):
                note("unpacking")
        code = process.wait()
    finally:
        done.set()
        if process.poll() is None:
            process.kill()
    return code, last_error or f"pip ended with {code}"


def _pulse(done: threading.Event) -> None:
    started = time.monotonic()
    while not done.wait(20):
        note(f"… still installing ({time.monotonic() - started:.0f} s)")


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
