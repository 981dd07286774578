"""What build.py decides, without installing anything; and the package as Blender's own tool sees it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from buildtools import packaging, syslibs, testrun, venvs
from buildtools.say import BuildError

ROOT = Path(__file__).resolve().parent.parent


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "build.py"), *arguments], capture_output=True, text=True)


def test_unknown_command_is_one_line():
    done = build("pakcage")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "package" in done.stderr


def test_help_lists_every_command():
    done = build("--help")
    assert done.returncode == 0
    for word in ("demo", "test", "bench", "package", "test-window"):
        assert word in done.stdout


def test_every_requirement_is_pinned():
    for file in (ROOT / "requirements").glob("*.txt"):
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                assert "==" in line.split(";")[0], f"{file.name}: {line}"


def test_an_environment_is_remade_when_its_requirements_change(tmp_path, monkeypatch):
    monkeypatch.setattr(venvs, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    file = tmp_path / "requirements" / "some.txt"
    file.write_text("# a comment\nnumpy==1.26.4\n")
    venv = venvs.Venv(".some", "some.txt", "a test")
    assert not venvs.is_ready(venv)
    venv.python.parent.mkdir(parents=True)
    venv.python.symlink_to(sys.executable)
    (venv.path / venvs.STAMP_NAME).write_text(venvs.fingerprint(venv))
    assert venvs.is_ready(venv)
    file.write_text("# another comment\n\nnumpy==1.26.4\n")
    assert venvs.is_ready(venv)
    file.write_text("numpy==1.26.3\n")
    assert not venvs.is_ready(venv)


def test_a_missing_python_says_what_to_install(monkeypatch):
    monkeypatch.setattr(venvs.shutil, "which", lambda name: None)
    monkeypatch.setattr(venvs.sys, "version_info", (3, 12, 0))
    monkeypatch.setenv("PYENV_ROOT", "/nowhere")
    with pytest.raises(BuildError) as caught:
        venvs.find_python311()
    assert "3.11" in caught.value.message and caught.value.hint


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="system libraries are looked for on Linux alone")
def test_missing_system_library_is_named(monkeypatch):
    absent = {"libdoesnotexist.so.9": "libdoesnotexist9"}
    assert syslibs.missing(absent) == absent
    assert syslibs.missing({"libc.so.6": "libc6"}) == {}
    monkeypatch.setattr(syslibs.shutil, "which", lambda name: None)
    with pytest.raises(BuildError) as caught:
        syslibs.ensure(absent, "the test")
    assert "libdoesnotexist.so.9" in caught.value.message and "libdoesnotexist9" in caught.value.hint


def test_counts_of_a_report(tmp_path):
    report = tmp_path / "r.xml"
    report.write_text('<testsuites><testsuite tests="7" failures="1" errors="1" skipped="2"/></testsuites>')
    assert testrun._counts(report) == (3, 2, 2)
    assert testrun._counts(tmp_path / "none.xml") == (0, 0, 0)


def test_manifest_is_filled_before_the_first_table():
    text = 'id = "x"\nplatforms = ["linux-x64"]\nwheels = [\n  "./wheels/old.whl",\n]\n\n[permissions]\nfiles = "a"\n'
    filled = packaging.fill_manifest(text, "windows-x64", ["b.whl", "a.whl"])
    import tomllib

    data = tomllib.loads(filled)
    assert data["platforms"] == ["windows-x64"]
    assert data["wheels"] == ["./wheels/a.whl", "./wheels/b.whl"]
    assert data["permissions"] == {"files": "a"}


def test_package_of_this_checkout_is_accepted_by_blender(tmp_path):
    """All but the wheels: staged, zipped and validated by the extension tool that comes with Blender."""
    validator = sorted(Path(sys.prefix).glob("lib/python3.*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not validator:
        pytest.skip("no bpy wheel in this environment")
    stage = tmp_path / "holdfast"
    version = packaging.stage_extension(stage, "linux-x64", [])
    target = tmp_path / "holdfast.zip"
    for arguments in (["build", "--source-dir", str(stage), "--output-filepath", str(target)], ["validate", str(target)]):
        done = subprocess.run([sys.executable, str(validator[-1]), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    names = zipfile.ZipFile(target).namelist()
    assert {"__init__.py", "blender_manifest.toml", "solver/__main__.py", "addon/__init__.py", "models/registry.json"} <= set(
        names
    )
    assert not [n for n in names if "training" in n or "__pycache__" in n or n.startswith("tests")]
    assert version.count(".") == 2
