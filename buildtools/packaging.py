"""`build.py package`: the extension zip Blender installs, with the solver, the networks and the wheels of one platform inside."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from buildtools import venvs
from buildtools.say import BuildError, note, size, step

ROOT = venvs.ROOT
DIST = ROOT / "dist"
WHEEL_CACHE = ROOT / ".cache" / "wheels"
# Blender's platform name -> the wheel tags that run on it.
PLATFORMS = {
    "linux-x64": [*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)), "manylinux2014_x86_64"],
    "windows-x64": ["win_amd64"],
    "macos-arm64": ["macosx_14_0_arm64"],
}
GPU_PLATFORMS = ("linux-x64", "windows-x64")
PYTHONS = ("3.11", "3.13")  # Blender 4.2 to 5.0; 5.1 and newer
# What goes into the zip, and what stays out of it.
CONTENT = ("addon", "solver", "models")
LEFT_OUT = ("__pycache__", "*.pyc", "training", "tests", ".*")


def run(arguments: list[str]) -> int:
    """Build, validate and list; returns the exit code."""
    parser = argparse.ArgumentParser(prog="build.py package", description=__doc__)
    parser.add_argument("--platform", default="linux-x64", choices=[*PLATFORMS, "all"], help="which zip to build")
    parser.add_argument(
        "--gpu",
        action="store_true",
        help="with ONNX Runtime for CUDA 13; CUDA 13 and cuDNN 9 must be on the machine that uses it (Linux and Windows)",
    )
    parser.add_argument("--pythons", default=",".join(PYTHONS), help="Python versions of the Blenders to serve")
    options = parser.parse_args(arguments)
    pythons = [p.strip() for p in options.pythons.split(",") if p.strip()]
    if any(not re.fullmatch(r"3\.\d+", p) for p in pythons):
        raise BuildError(f"'{options.pythons}' is not a list of Python versions.", "Give it as 3.11,3.13")
    chosen = list(PLATFORMS) if options.platform == "all" else [options.platform]
    if options.gpu:
        chosen = [p for p in chosen if p in GPU_PLATFORMS]
        if not chosen:
            raise BuildError("There is no CUDA on macOS.", "Leave out --gpu: the small build uses CoreML there.")
    python = venvs.ensure(venvs.MAIN)
    validator = _blender_ext(python)

    built = [_build(platform, pythons, options.gpu, python, validator) for platform in chosen]
    others = [p for p in (GPU_PLATFORMS if options.gpu else PLATFORMS) if p not in chosen]
    for platform in others:
        _list_wheels(platform, pythons, options.gpu, python)
    step("Extension zips")
    for path in built:
        note(f"{path.relative_to(ROOT)}  {size(path.stat().st_size)}")
    note("Install in Blender: Edit > Preferences > Get Extensions > Install from Disk, or drop the zip onto Blender's window.")
    return 0


def _build(platform: str, pythons: list[str], gpu: bool, python: Path, validator: Path) -> Path:
    """Stage, zip and validate the extension of one platform; returns the zip."""
    step(f"Extension for {platform}{' with CUDA' if gpu else ''}")
    wheels = fetch_wheels(platform, pythons, gpu, python)
    with tempfile.TemporaryDirectory(prefix="holdfast-package-") as temporary:
        stage = Path(temporary) / "holdfast"
        version = stage_extension(stage, platform, wheels)
        DIST.mkdir(exist_ok=True)
        target = DIST / f"holdfast-{version}-{platform.replace('-', '_')}{'_cuda' if gpu else ''}.zip"
        target.unlink(missing_ok=True)
        for arguments in (
            ["build", "--source-dir", str(stage), "--output-filepath", str(target)],
            ["validate", str(target)],
        ):
            done = subprocess.run([str(python), str(validator), *arguments], capture_output=True, text=True)
            if done.returncode or not target.exists():
                target.unlink(missing_ok=True)
                raise BuildError(f"Blender's extension tool refuses the package: {_errors(done)}")
        sizes = {name: _folder_size(stage / name) for name in (*CONTENT, "wheels")}
    note("; ".join(f"{name} {size(count)}" for name, count in sizes.items()))
    note(f"{target.name}: {size(target.stat().st_size)}, accepted by Blender's `extension validate`")
    return target


def stage_extension(stage: Path, platform: str, wheels: list[Path]) -> str:
    """Lay out the zip's root in `stage`; returns the version its manifest names."""
    manifest = ROOT / "blender_manifest.toml"
    entry = ROOT / "addon" / "extension_root.py"
    for needed in (manifest, entry):
        if not needed.exists():
            raise BuildError(f"{needed.relative_to(ROOT)} is not part of this checkout.")
    stage.mkdir(parents=True)
    for name in CONTENT:
        shutil.copytree(ROOT / name, stage / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (stage / "wheels").mkdir()
    for wheel in wheels:
        shutil.copy2(wheel, stage / "wheels" / wheel.name)
    shutil.copy2(entry, stage / "__init__.py")
    shutil.copy2(ROOT / "LICENSE", stage / "LICENSE")
    text = fill_manifest(manifest.read_text(encoding="utf-8"), platform, [w.name for w in wheels])
    (stage / "blender_manifest.toml").write_text(text, encoding="utf-8")
    found = re.search(r'^version\s*=\s*"([^"]+)"', text, re.MULTILINE)
    if not found:
        raise BuildError("blender_manifest.toml names no version.")
    return found.group(1)


def fill_manifest(text: str, platform: str, wheel_names: list[str]) -> str:
    """The manifest with `platforms` and `wheels` set to what this zip holds (top level, before the first table)."""
    for key in ("platforms", "wheels"):
        text = re.sub(rf"^{key}\s*=\s*\[[^\]]*\]\s*\n", "", text, flags=re.MULTILINE)
    lines = [f'platforms = ["{platform}"]', "wheels = [", *(f'  "./wheels/{name}",' for name in sorted(wheel_names)), "]", ""]
    block = "\n".join(lines) + "\n"
    table = re.search(r"^\[", text, re.MULTILINE)
    return text[: table.start()] + block + text[table.start() :] if table else text.rstrip("\n") + "\n" + block


def requirement_lines(python_version: str, gpu: bool) -> list[str]:
    """The pinned packages whose wheels a Blender with this Python needs."""
    minor = int(python_version.split(".")[1])
    name = "package-py311.txt" if minor <= 12 else "package-py313.txt"
    lines = [line.strip() for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return [line.replace("onnxruntime==", "onnxruntime-gpu==") for line in lines] if gpu else lines


def fetch_wheels(platform: str, pythons: list[str], gpu: bool, python: Path) -> list[Path]:
    """Download (once) the wheels of a platform for every Python version; returns their paths, each once."""
    by_name: dict[str, Path] = {}
    for version in pythons:
        lines = requirement_lines(version, gpu)
        key = hashlib.sha256("\n".join([platform, version, *lines]).encode()).hexdigest()[:12]
        folder = WHEEL_CACHE / f"{platform}-{version}-{key}"
        if not (folder / "complete").exists():
            note(f"fetching wheels for Python {version}")
            folder.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(
                [str(python), "-m", "pip", "download", "--disable-pip-version-check", "--progress-bar", "off", "--no-deps",
                 *_target_options(platform, version), "-d", str(folder), *lines],
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                what = f"Wheels for {platform}, Python {version}, cannot be fetched: {_errors(done)}"
                raise BuildError(what, "Check the network.")
            (folder / "complete").touch()
        for wheel in sorted(folder.glob("*.whl")):
            by_name.setdefault(wheel.name, wheel)
    return [by_name[name] for name in sorted(by_name)]


def _list_wheels(platform: str, pythons: list[str], gpu: bool, python: Path) -> None:
    """Print which wheels the zip of another platform would hold, without fetching them."""
    step(f"The zip for {platform} (build it with --platform {platform}) would hold")
    names: set[str] = set()
    for version in pythons:
        with tempfile.TemporaryDirectory() as temporary:
            report = Path(temporary) / "report.json"
            done = subprocess.run(
                [str(python), "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check", "--ignore-installed",
                 "--no-deps", "--target", temporary, "--report", str(report), *_target_options(platform, version),
                 *requirement_lines(version, gpu)],
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                note(f"not to be listed for Python {version}: {_errors(done)}")
                continue
            items = json.loads(report.read_text(encoding="utf-8"))["install"]
            names.update(item["download_info"]["url"].rsplit("/", 1)[-1] for item in items)
    for name in sorted(names):
        note(name)


def _target_options(platform: str, version: str) -> list[str]:
    tags = [option for tag in PLATFORMS[platform] for option in ("--platform", tag)]
    return ["--only-binary=:all:", "--implementation", "cp", "--python-version", version, *tags]


def _blender_ext(python: Path) -> Path:
    """Blender's own extension tool, plain Python inside the bpy wheel."""
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    found = sorted(site.glob("bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not found:
        raise BuildError("Blender's extension tool is not inside the bpy wheel.", f"Delete {venvs.MAIN.folder}, try again.")
    return found[-1]


def _errors(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    picked = [line for line in lines if re.search(r"error|fatal|invalid", line, re.IGNORECASE)] or lines[-1:]
    return " ".join(picked[:3]) or "no message"


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
