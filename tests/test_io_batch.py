"""Batches: lists, restart, locks, bad shots, budgets, reports. The solve is an exact synthetic one, in real processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from solver import batch_state
from solver.batch_cli import share_cores
from solver.batch_list import Shot, read_shots
from solver.batch_shot import Job, solve_arguments
from solver.errors import HoldfastError
from tests.io_batch import Place, wait_for
from tests.io_synthetic import write_movie
from tests.test_io_clip import write_sequence


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_csv_list(tmp_path):
    (tmp_path / "shots.csv").write_text(
        "# our show\nclip,name,range,lens,motion,mask,network,quality\n"
        "a.mp4,sh 010,5-20,35/24.9,free,m/a,,\n"
        "/abs/b.####.exr,,,varying,,,net.onnx,best\n"
        "a.mp4,sh 010,,1450px,,,none,\n"
    )
    shots = read_shots(str(tmp_path / "shots.csv"), {"quality": "draft", "focal_px": 9.0})
    assert [shot.name for shot in shots] == ["sh_010", "b", "sh_010_2"]
    assert shots[0].clip == str(tmp_path / "a.mp4") and shots[1].clip == "/abs/b.####.exr"
    lens = {"focal_mm": 35.0, "sensor_mm": 24.9}
    assert shots[0].options == {
        "quality": "draft",
        "start": 5,
        "end": 20,
        **lens,
        "motion": "free",
        "mask": str(tmp_path / "m/a"),
    }
    assert shots[1].options == {"quality": "best", "focal": "varying", "depth_model": str(tmp_path / "net.onnx")}
    assert shots[2].options == {"quality": "draft", "focal_px": 1450.0, "depth_model": "none"}
    arguments = solve_arguments(Job(shots[0], tmp_path / "o", 2, ()))
    assert arguments[:2] == ["solve", shots[0].clip] and "--focal-mm=35.0" in arguments and "--start=5" in arguments


def test_toml_list(tmp_path):
    (tmp_path / "shots.toml").write_text(
        '[defaults]\nquality = "best"\nseed = 4\n[[shot]]\nclip = "a.mp4"\n'
        '[[shot]]\nclip = "b.mp4"\nquality = "draft"\nrange = "3..9"\n'
    )
    shots = read_shots(str(tmp_path / "shots.toml"), {})
    assert shots[0].options == {"quality": "best", "seed": 4}
    assert shots[1].options == {"quality": "draft", "seed": 4, "start": 3, "end": 9}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("clip,colour\na.mp4,red\n", "row 2: 'colour'"),
        ("clip,quality\na.mp4,great\n", "quality may be"),
        ("clip,start\na.mp4,x\n", "whole number"),
        ("clip,range\na.mp4,7\n", "range"),
        ("clip,lens\na.mp4,long\n", "lens"),
        ("name\nx\n", "no clip"),
        ("clip\n", "no shots"),
    ],
)
def test_bad_lists_name_the_row(tmp_path, text, what):
    (tmp_path / "shots.csv").write_text(text)
    with pytest.raises(HoldfastError, match=what) as caught:
        read_shots(str(tmp_path / "shots.csv"), {})
    assert caught.value.exit_code == 3 and caught.value.hint


def test_plain_list(tmp_path):
    (tmp_path / "shots.txt").write_text("# plates\na.mp4\n\nsub/b, with comma.mov\n")
    assert [shot.clip for shot in read_shots(str(tmp_path / "shots.txt"), {})] == [
        str(tmp_path / "a.mp4"),
        str(tmp_path / "sub/b, with comma.mov"),
    ]


def test_folder_of_clips(tmp_path):
    write_movie(tmp_path / "b.mp4", 4)
    write_sequence(tmp_path / "a", range(3))
    write_sequence(tmp_path, range(7, 10), prefix="loose.")
    (tmp_path / "notes.txt").write_text("")
    shots = read_shots(str(tmp_path), {})
    assert [(s.name, Path(s.clip).name) for s in shots] == [("a", "a"), ("b", "b.mp4"), ("loose", "loose.####.png")]


def test_batch_solves_reports_and_skips(place):
    for name in ("one", "two"):
        write_movie(place.clips / f"{name}.mp4", 6)
    code, events = place.run()
    assert code == 0 and sorted(place.solves()) == ["one.mp4", "two.mp4"]
    assert [e["status"] for e in events if e["event"] == "shot"] == ["done", "done"]
    assert events[-1]["event"] == "result" and events[-1]["shots"] == {"shots": 2, "done": 2}
    assert {e["name"] for e in events if e["event"] == "shot_progress"} == {"one", "two"}
    shot = place.out / "one"
    names = [
        "solve.json",
        "solver.log",
        "camera.chan",
        "lens.nk",
        "transforms.json",
        "colmap",
        "stmap",
        "contact.jpg",
        "thumbnail.jpg",
    ]
    assert all((shot / name).exists() for name in names) and not (shot / ".lock").exists()
    report = place.report()
    assert report["finished"] and report["throughput"]["shots_solved"] == 2 and report["throughput"]["frames_solved"] == 12
    assert report["throughput"]["shots_per_hour"] > 0 and report["throughput"]["seconds_per_frame"]["track"] > 0
    rows = list(csv.DictReader((place.out / "report.csv").open()))
    assert [row["verdict"] for row in rows] == ["good", "good"] and rows[0]["focal_px"] == "520.0"
    check_page((place.out / "report.html").read_text(), shots=2)
    stamp = (shot / "solve.json").stat().st_mtime_ns

    code, events = place.run()  # nothing to do
    assert code == 0 and len(place.solves()) == 2 and (shot / "solve.json").stat().st_mtime_ns == stamp
    assert [e["status"] for e in events if e["event"] == "shot"] == ["skipped", "skipped"]
    os.utime(place.clips / "one.mp4")  # touched, but the same bytes
    assert place.run()[0] == 0 and len(place.solves()) == 2
    write_movie(place.clips / "one.mp4", 7)  # other pictures
    assert place.run()[0] == 0 and place.solves()[2:] == ["one.mp4"]
    assert place.run("--quality", "draft")[0] == 0 and sorted(place.solves()[3:]) == ["one.mp4", "two.mp4"]  # other settings
    (shot / "solve.json").unlink()
    assert place.run("--quality", "draft", "--export", "none")[0] == 0 and place.solves()[5:] == ["one.mp4"]


def check_page(text: str, shots: int) -> None:
    """Well-formed, one article per shot, and nothing that is fetched."""

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.articles, self.images, self.plots = [], 0, [], 0

        def handle_starttag(self, tag, attributes):
            if tag not in ("img", "meta", "path", "polyline", "link"):
                self.open.append(tag)
            self.articles += tag == "article"
            self.plots += tag == "svg"
            self.images += [value for key, value in attributes if tag == "img" and key == "src"]
            assert not [value for key, value in attributes if key in ("src", "href") and not value.startswith(("data:", "#"))]

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and reader.articles == shots
    assert "width=device-width" in text and "http://" not in text and "https://" not in text
    solved = text.count('<span class="tag good"')
    assert len(reader.images) == 2 * solved and reader.plots == solved


def test_bad_shots_do_not_stop_the_others(place):
    write_movie(place.clips / "good.mp4", 5)
    write_movie(place.clips / "crash.mp4", 5)
    (place.clips / "broken.mp4").write_bytes(b"\0\1\2" * 100)
    (place.folder / "list.csv").write_text("clip\nclips/crash.mp4\nclips/broken.mp4\nclips/gone.mp4\nclips/good.mp4\n")
    code, _ = place.run(source=place.folder / "list.csv")
    assert code == 3
    shots = {shot["name"]: shot for shot in place.report()["shots"]}
    assert (
        shots["good"]["status"] == "done"
        and shots["broken"]["code"] == "clip.not_a_video"
        and shots["gone"]["code"] == "clip.missing"
    )
    assert shots["crash"]["code"] == "batch.crashed" and "killed" in shots["crash"]["message"]
    assert "clip.missing" in (place.out / "gone" / "solver.log").read_text()
    check_page((place.out / "report.html").read_text(), shots=4)
    code, _ = place.run(source=place.folder / "list.csv")  # only the bad ones again
    assert code == 3 and place.solves().count("good.mp4") == 1


def test_a_failed_export_is_tried_again_without_solving(place):
    write_movie(place.clips / "a.mp4", 5)
    (place.out / "a").mkdir(parents=True)
    (place.out / "a" / "colmap").write_text("in the way")
    assert place.run()[0] == 1
    shot = place.report()["shots"][0]
    assert shot["code"] == "output.unwritable" and "colmap" in shot["message"] and "chan" not in shot["exports"]
    (place.out / "a" / "colmap").unlink()
    assert place.run()[0] == 0 and place.solves() == ["a.mp4"]
    assert (place.out / "a" / "colmap" / "cameras.txt").exists() and place.report()["shots"][0]["status"] == "done"
    assert place.report()["throughput"]["shots_solved"] == 0  # solved, but not by this run
    assert place.run("--force", "--export", "none")[0] == 0 and place.solves() == ["a.mp4"] * 2


def test_a_shot_killed_between_solve_and_export_goes_on_there(place):
    write_movie(place.clips / "a.mp4", 5)
    assert place.run("--export", "none")[0] == 0
    state = json.loads((place.out / "a" / "shot.json").read_text())
    (place.out / "a" / "shot.json").write_text(json.dumps(state | {"status": "running", "pictures": []}))
    (place.out / "a" / "contact.jpg").unlink()
    assert place.run("--export", "chan")[0] == 0 and place.solves() == ["a.mp4"]
    assert (place.out / "a" / "contact.jpg").exists() and (place.out / "a" / "camera.chan").exists()
    log = (place.out / "a" / "solver.log").read_text()
    assert "Verdict" in log and "export: chan" in log  # the solve's log is kept, the rest stands below it


def test_runs_are_compared_by_workers(place):
    for i in range(2):
        write_movie(place.clips / f"s{i}.mp4", 5)
    for jobs in ("1", "2"):
        assert place.run("--jobs", jobs, "--force", "--export", "none", SOLVE_SECONDS="1.5")[0] == 0
    report = place.report()
    one, two = report["scaling"]
    assert (one["workers"], two["workers"]) == (1, 2) and one["frames"] == two["frames"] == 10
    assert 1.05 < two["times_as_fast"] < 2.5 and len(report["runs"]) == 2
    assert "Scaling over workers" in (place.out / "report.html").read_text()


def test_blender_is_asked_for_scenes_and_its_failure_is_the_shots(place):
    """A program in Blender's place: what it says reaches the report and the log."""
    write_movie(place.clips / "a.mp4", 5)
    blender = place.folder / "blender"
    knows = """case "$*" in *--formats*) echo 'holdfast-scene {"formats": ["usd", "fbx"]}'; exit;; esac\n"""
    blender.write_text(f"#!/bin/sh\n{knows}echo 'Error: no such thing'\nexit 1\n")
    blender.chmod(0o755)
    assert place.run("--blender", str(blender))[0] == 1
    shot = place.report()["shots"][0]
    assert shot["code"] == "scene.failed" and "no such thing" in shot["message"] and shot["exports"]
    assert "Blender: Error: no such thing" in (place.out / "a" / "solver.log").read_text()
    blender.write_text(
        f'#!/bin/sh\n{knows}echo "$@" > ' + str(place.folder / "asked") + """\necho 'holdfast-scene {"made": {}}'\n"""
    )
    assert place.run("--blender", str(blender))[0] == 0 and place.solves() == ["a.mp4"]
    asked = (place.folder / "asked").read_text().split()
    assert asked[:2] == ["-b", "--factory-startup"] and asked[-1] == "usd,fbx" and asked[-2].endswith("a/a.blend")
    assert place.report()["shots"][0]["scene"] == "a/a.blend"
    code, events = place.run("--blender", str(place.folder / "none"))
    assert code == 103 and events[-1]["code"] == "scene.no_blender"
    assert place.run("--export", "usd")[0] == 102  # only Blender can
    assert place.run("--blender", str(blender), "--export", "alembic")[0] == 102  # and this one cannot
    code, events = place.run("--blender", "/bin/true")
    assert code == 103 and events[-1]["code"] == "scene.no_blender" and place.solves() == ["a.mp4"]


def test_failures_of_the_batch_itself(place):
    (place.folder / "empty").mkdir()
    for options, source, expected in (
        ([], place.folder / "empty", 103), ([], place.folder / "none.csv", 103), (["--export", "maya"], None, 102),
        (["--focal-mm", "35", "--sensor-mm", "-1"], None, 102), (["--nonsense"], None, 102),
    ):  # fmt: skip
        code, events = place.run(*options, source=source)
        assert code == expected and events[-1]["event"] == "error"
    write_movie(place.clips / "a.mp4", 4)
    place.out.write_text("a file")
    assert place.run()[0] == 105


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_runs_end_at_once_and_resume(place, number):
    for name in ("a", "b", "c"):
        write_movie(place.clips / f"{name}.mp4", 5)
    process = place.start("--jobs", "1", SOLVE_SECONDS="1.5")
    wait_for(lambda: (place.out / "b" / "shot.json").exists() and len(place.solves()) == 2)
    process.send_signal(number)
    began = time.monotonic()
    process.communicate(timeout=10)
    assert process.returncode == (107 if number == signal.SIGINT else -9) and time.monotonic() - began < 2
    assert (place.out / "a" / "solve.json").exists() and not (place.out / "b" / "solve.json").exists()
    time.sleep(1.0)  # the shot's process has ended too
    assert not list(place.out.glob("b/.holdfast*")) and len(place.solves()) == 2
    assert place.run()[0] == 0
    assert place.solves().count("a.mp4") == 1 and place.solves().count("b.mp4") == 2 and place.solves().count("c.mp4") == 1


def test_two_runs_share_the_work(place):
    for i in range(4):
        write_movie(place.clips / f"s{i}.mp4", 5)
    write_movie(place.clips / "crash.mp4", 5)
    runs = [place.start("--jobs", "1", SOLVE_SECONDS="0.6") for _ in range(2)]
    for process in runs:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
    assert sorted(place.solves()) == ["crash.mp4", *(f"s{i}.mp4" for i in range(4))]  # each once, the bad one too
    assert place.report()["summary"]["shots"] == 5


def test_locks(tmp_path):
    with batch_state.lock(tmp_path):
        with pytest.raises(batch_state.Locked), batch_state.lock(tmp_path):
            pass
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holder = {"host": batch_state.socket.gethostname(), "pid": dead.pid}
    (tmp_path / ".lock").write_text(json.dumps(holder))
    with batch_state.lock(tmp_path):  # taken over
        pass
    elsewhere = tmp_path / ".lock"
    elsewhere.write_text(json.dumps({"host": "another", "pid": 1}))
    with pytest.raises(batch_state.Locked), batch_state.lock(tmp_path):
        pass
    os.utime(elsewhere, (time.time() - 60, time.time() - 60))
    with batch_state.lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_keys_see_content_and_settings(tmp_path):
    movie = write_movie(tmp_path / "a.mp4", 4)
    folder = write_sequence(tmp_path / "mask", range(3))
    shot = Shot("a", str(movie), {"mask": str(folder)})
    key = batch_state.shot_key(shot)
    assert batch_state.shot_key(shot, key) == key
    assert batch_state.settings_hash(Shot("a", str(movie), {"mask": str(folder), "seed": 1})) != key["settings"]
    file = folder / "shot.0001.png"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert batch_state.shot_key(shot, key)["content"] != key["content"]


def test_large_shots_are_sampled_in_every_file(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_state, "_FULL_HASH_BYTES", 200_000)
    folder = tmp_path / "plates"
    folder.mkdir()
    for i in range(3):
        (folder / f"p.{i}.png").write_bytes(bytes([i]) * 100_000)
    (folder / "p.3.png").write_bytes(bytes(100_000))
    shot = Shot("p", str(folder), {})
    hashes = {batch_state.content_hash(shot)}
    for i in range(4):
        for at in (0, 99_999):
            data = bytearray((folder / f"p.{i}.png").read_bytes())
            data[at] ^= 255
            (folder / f"p.{i}.png").write_bytes(data)
            hashes.add(batch_state.content_hash(shot))
    assert len(hashes) == 9


def test_cores_are_shared():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert share_cores(0, 0, 1) == (1, cores)
    jobs, threads = share_cores(0, 0, 100)
    assert jobs * threads <= max(cores, 1) and jobs == max(1, cores // 2)
    assert share_cores(3, 1, 100) == (3, 1) and share_cores(8, 0, 2)[0] == 2


def test_memory_budget_limits_the_shots_at_once(place):
    for i in range(3):
        write_movie(place.clips / f"s{i}.mp4", 5)
    began = time.monotonic()
    assert place.run("--jobs", "3", "--memory", "0.5", SOLVE_SECONDS="0.8")[0] == 0  # one needs 0.3 GB
    states = [json.loads((place.out / f"s{i}" / "shot.json").read_text()) for i in range(3)]
    assert time.monotonic() - began > 2.4 and all(state["peak_memory_mb"] > 20 for state in states)
