#!/usr/bin/env python3
"""Everything there is to do with this checkout: demo, test, bench, package, test-window. Makes its own environments.

    python3 build.py demo                solve the sample shot, put a prop into it, render it (start here)
    python3 build.py test [-k WORD] [--slow] [--no-bpy] [pytest options]
    python3 build.py bench [--shots A,B] [--peers A,B] [--quick] [--clips DIR | --no-clips]
    python3 build.py package [--platform linux-x64|windows-x64|macos-arm64|all] [--gpu]
    python3 build.py test-window         the artist's way in a real Blender with a window, where one is installed

Needs Python 3.11 on the machine (any Python 3.8 or newer may run this file) and nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from buildtools import packaging, syslibs, testrun, venvs
from buildtools.say import BuildError, step

COMMANDS = ("demo", "test", "bench", "package", "test-window")


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if argv else 2
    command, arguments = argv[0], argv[1:]
    if command not in COMMANDS:
        print(f"build.py: there is no command '{command}'. Commands: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        if command == "test":
            return testrun.run(arguments)
        if command == "package":
            return packaging.run(arguments)
        if command == "test-window":
            return _script(venvs.ensure(venvs.MAIN), "tests/blender/window_test.py", arguments)
        syslibs.ensure(syslibs.BLENDER, "Blender as a module")
        main_python = venvs.ensure(venvs.MAIN)
        if command == "demo":
            step("Demo: the sample shot")
            return _script(main_python, "tests.demo.run_demo", arguments)
        syslibs.ensure(syslibs.RENDERER, "the bench's renderer", syslibs.RENDERER_EXTRA)
        bench_python = venvs.ensure(venvs.BENCH)
        return _script(bench_python, "tests.bench.run", arguments)
    except BuildError as error:
        print(f"build.py: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"          {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("build.py: interrupted", file=sys.stderr)
        return 130


def _script(python: Path, target: str, arguments: list[str]) -> int:
    """Run a module (dotted) or a script (path) of this checkout with one of its environments."""
    if target.endswith(".py"):
        if not (venvs.ROOT / target).exists():
            raise BuildError(f"{target} is not part of this checkout.")
        how = [target]
    else:
        how = ["-m", target]
    environment = dict(os.environ, HOLDFAST_PYTHON=str(venvs.MAIN.python))
    return subprocess.run([str(python), *how, *arguments], cwd=venvs.ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
