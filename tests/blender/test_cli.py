"""The command line inside Blender: exit codes, lists, and a shot from clip to .blend with a process in the solver's place."""

from __future__ import annotations

import json
import sys

import pytest

from . import synthetic
from .test_job import SPEAKS


def test_help_and_wrong_options(blender, capsys):
    from addon import cli

    assert cli.run(["solve", "--help"]) == 0
    assert "--depth-model" in capsys.readouterr().out
    assert cli.run(["solve"]) == 2
    assert cli.run(["solve", "nothing.mp4", "-o", "x.blend"]) == 3
    assert "nothing.mp4" in capsys.readouterr().err


def test_shot_lists(tmp_path):
    from addon import cli

    (tmp_path / "a.mp4").touch()
    (tmp_path / "notes.txt").write_text("# shots\na.mp4\n\nsub/b.mov\n")
    assert [clip.name for clip, _ in cli.shot_list(tmp_path)] == ["a.mp4"]
    assert [str(clip.relative_to(tmp_path)) for clip, _ in cli.shot_list(tmp_path / "notes.txt")] == ["a.mp4", "sub/b.mov"]
    (tmp_path / "shots.csv").write_text("clip,focal-mm,motion\na.mp4,35,\nb.mov,,free\n")
    assert [own for _, own in cli.shot_list(tmp_path / "shots.csv")] == [{"focal_mm": "35"}, {"motion": "free"}]
    (tmp_path / "bad.csv").write_text("clip,lens\na.mp4,35\n")
    with pytest.raises(ValueError, match="lens"):
        cli.shot_list(tmp_path / "bad.csv")


def test_batch_saves_scenes_skips_and_counts_failures(blender, tmp_path, monkeypatch, capsys):
    import addon.solver_process as process
    from addon import cli

    shots = {name: synthetic.write_job(tmp_path / name, name=name, frames=4) for name in ("one", "two")}

    def command_line(python, clip, out, settings=None):
        truth = next((s for s in shots.values() if str(s.footage) == clip), None)
        if truth is None:
            return [
                sys.executable,
                "-c",
                SPEAKS + "say(event='error', code='c', message='Not a video', hint='Check it'); sys.exit(3)",
            ]
        code = f"shutil.copytree({str(truth.folder)!r}, {out!r}, dirs_exist_ok=True); say(event='result', summary='fine')"
        return [sys.executable, "-c", SPEAKS + code]

    monkeypatch.setattr(process, "command_line", command_line)
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join([str(shots["one"].footage), "bad.mp4", str(shots["two"].footage)]))
    out = tmp_path / "out"
    assert cli.run(["batch", str(listing), "-o", str(out)]) == 1
    assert "Not a video. Check it" in capsys.readouterr().err
    assert sorted(p.name for p in out.glob("*.blend")) == ["one.1001.blend", "two.1001.blend"]
    monkeypatch.setattr(process, "command_line", lambda *a: pytest.fail("a shot that is done was solved again"))
    (tmp_path / "done.txt").write_text(str(shots["one"].footage))
    assert cli.run(["batch", str(tmp_path / "done.txt"), "-o", str(out)]) == 0
    blender.ops.wm.open_mainfile(filepath=str(out / "two.1001.blend"))
    assert [scene.name for scene in blender.data.scenes] == ["two.1001"]
    assert [clip.name for clip in blender.data.movieclips] == ["two.1001.png"]
    assert json.loads((out / "holdfast" / "two.1001" / "solve.json").read_text())["schema"] == 1
