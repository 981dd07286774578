"""`build.py test`: the linter, the tests, and the add-on's tests in every Blender, with one summary at the end."""

from __future__ import annotations

import os
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from buildtools import syslibs, venvs
from buildtools.say import note, step

RESULTS = venvs.ROOT / ".cache" / "test"
NOTHING_SELECTED = 5  # pytest's exit code when a filter leaves no test


@dataclass
class Outcome:
    """What one suite did."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    ok: bool


def run(arguments: list[str]) -> int:
    """Run everything; returns the exit code. `arguments` are passed on to pytest; --no-bpy leaves out the other Blenders."""
    only_main = "--no-bpy" in arguments
    arguments = [a for a in arguments if a != "--no-bpy"]
    syslibs.ensure(syslibs.BLENDER, "Blender as a module")
    main = venvs.ensure(venvs.MAIN)
    others = [] if only_main else [venvs.BPY42, venvs.BPY50]
    for venv in others:
        venvs.ensure(venv)

    outcomes = [_lint(main)]
    outcomes.append(_pytest("solver and tools", main, ["tests", "--ignore=tests/blender", *arguments]))
    for venv in [venvs.MAIN, *others]:
        outcomes.append(_pytest(f"add-on, {_blender_version(venv)}", venv.python, ["tests/blender", *arguments]))
    return _summary(outcomes, filtered=bool(arguments))


def _blender_version(venv: venvs.Venv) -> str:
    for line in venv.requirement_file.read_text(encoding="utf-8").splitlines():
        if line.startswith("bpy=="):
            return "Blender " + line[len("bpy==") :]
    return venv.folder


def _lint(python: Path) -> Outcome:
    step("ruff check")
    started = time.monotonic()
    done = subprocess.run([str(python), "-m", "ruff", "check", "--no-cache", "."], cwd=venvs.ROOT)
    ok = done.returncode == 0
    return Outcome("ruff check", int(ok), int(not ok), 0, time.monotonic() - started, ok)


def _pytest(name: str, python: Path, arguments: list[str]) -> Outcome:
    step(f"pytest: {name}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    report = RESULTS / ("".join(c if c.isalnum() else "-" for c in name) + ".xml")
    report.unlink(missing_ok=True)
    environment = dict(os.environ, HOLDFAST_PYTHON=str(venvs.MAIN.python), PYTHONDONTWRITEBYTECODE="1")
    environment.setdefault("OPENBLAS_NUM_THREADS", "2")
    started = time.monotonic()
    command = [str(python), "-m", "pytest", f"--junitxml={report}", *arguments]
    done = subprocess.run(command, cwd=venvs.ROOT, env=environment, stdin=subprocess.DEVNULL)
    passed, failed, skipped = _counts(report)
    ok = done.returncode == 0 or (done.returncode == NOTHING_SELECTED and "-k" in arguments)
    if not ok and not failed:
        note(f"pytest ended with {done.returncode} before it could report a failure")
        failed = 1
    return Outcome(name, passed, failed, skipped, time.monotonic() - started, ok)


def _counts(report: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) of a JUnit report; zeros where there is none."""
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return 0, 0, 0
    columns = (("tests",), ("failures", "errors"), ("skipped",))
    total, failed, skipped = (sum(int(suite.get(key, 0)) for suite in suites for key in keys) for keys in columns)
    return total - failed - skipped, failed, skipped


def _summary(outcomes: list[Outcome], filtered: bool) -> int:
    step("Summary")
    width = max(len(o.name) for o in outcomes)
    for o in outcomes:
        word = "ok    " if o.ok else "FAILED"
        note(f"{word} {o.name:<{width}}  {o.passed:4d} passed {o.failed:3d} failed {o.skipped:3d} skipped  {o.seconds:6.1f} s")
    tests = outcomes[1:]
    passed, failed, skipped = (sum(getattr(o, key) for o in tests) for key in ("passed", "failed", "skipped"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    if passed + failed == 0:
        note("no test ran" + (": the filter matched none" if filtered else ""))
        return 1
    return 0 if all(o.ok for o in outcomes) else 1
