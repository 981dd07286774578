"""Refining a finished solve: bad tracks out, own tracks in, the scene stays where it is, and nothing is ever half-written."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from solver.edits import Edits, apply_edits, parse_numbers, read_edits, under_mask
from solver.errors import HoldfastError
from solver.gauge import similarity
from solver.load import load_document, load_solution
from solver.refine import refine, settings_of, with_user_tracks
from solver.report import stable_part, write_solution
from solver.types import LABEL_UNRELIABLE
from solver.user_tracks import UserTrack, read_user_tracks

from . import refine_synthetic as synthetic

ROOT = Path(__file__).resolve().parent.parent


class Quiet:
    """Progress that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total

    def warn(self, code: str, message: str) -> None:
        """Keep it."""
        self.warnings.append((code, message))


def refined(solution, **options):
    return refine(solution, settings_of(solution, 1), Quiet(), **options)


@pytest.fixture(scope="module")
def shot() -> synthetic.Shot:
    return synthetic.make()


@pytest.fixture(scope="module")
def spoiled(shot) -> tuple[synthetic.Shot, np.ndarray]:
    """The shot solved on tracks of which the larger part sits on something that drifts along: the solve follows it.

    Returns the shot with the spoiled solve, and the numbers of the drifting tracks.
    """
    solution = shot.solution
    rng = np.random.default_rng(1)
    bad = np.sort(rng.permutation(solution.tracks.track_count)[: int(0.6 * solution.tracks.track_count)])
    t = solution.tracks
    drift = np.c_[0.6 * t.frame_index, 0.25 * np.sin(t.frame_index / 3.0) * t.frame_index]
    xy = t.xy + drift * np.isin(t.track, bad)[:, None]
    wrong = refined(synthetic.with_xy(solution, xy), again=True)
    return replace(shot, solution=wrong), bad


def test_an_untouched_solve_stays_what_it_is(shot):
    new = refined(shot.solution)
    assert synthetic.slip_px(new, shot) < 0.2
    assert new.verdict.status == "good" and new.verdict.motion == "free"
    same = similarity(shot.solution, new)
    assert same.scale == pytest.approx(1, abs=1e-4)
    assert np.abs(same.shift).max() < 1e-3
    assert np.array_equal(new.tracks.xy, shot.solution.tracks.xy)


def test_another_move_is_solved_when_it_is_asked_for(shot):
    new = refine(shot.solution, replace(settings_of(shot.solution, 1), motion="static"), Quiet())
    assert new.verdict.motion == "static" and np.ptp(new.cam_from_world, axis=0).max() < 1e-12
    assert new.verdict.status == "weak"  # the camera does travel
    back = refine(new, replace(settings_of(new, 1), motion="free"), Quiet())
    assert back.verdict.motion == "free"
    assert synthetic.slip_px(back, shot) < 0.25


def test_dropping_the_bad_tracks_gives_the_good_solve_back(spoiled):
    shot, bad = spoiled
    before = synthetic.slip_px(shot.solution, shot)
    assert before > 2.0  # the test would show nothing otherwise
    new = refined(apply_edits(shot.solution, Edits(drop=frozenset(bad.tolist()))))
    assert synthetic.slip_px(new, shot) < 0.25
    assert new.track_muted[bad].all() and new.track_muted.sum() == len(bad)
    assert (new.track_label[bad] == LABEL_UNRELIABLE).all()
    assert not np.isin(new.point_track, bad).any()
    assert new.quality["muted"] == len(bad)


def test_what_was_left_out_can_be_taken_back(shot):
    out = refined(apply_edits(shot.solution, Edits(drop=frozenset(range(60)))))
    assert out.quality["points"] < len(shot.solution.points) - 50
    back = refined(apply_edits(out, Edits(restore=frozenset(range(60)))))
    straight = refined(shot.solution)
    assert back.track_muted is None
    assert abs(len(back.points) - len(straight.points)) <= 2
    assert synthetic.slip_px(back, shot) < 0.2


def test_cut_markers_are_gone_and_a_rest_too_short_is_muted(shot):
    solution = shot.solution
    t = solution.tracks
    whole = int(np.argmax(np.bincount(t.track)))
    other = int(np.nonzero(np.bincount(t.track) >= 10)[0][-1])
    numbers = t.frame_numbers[t.frame_index[t.track == other]]
    new = apply_edits(solution, Edits(cut=((whole, 1010, 1014), (other, int(numbers[2]), int(numbers[-1])))))
    assert (t.track == whole).sum() - (new.tracks.track == whole).sum() == 5
    assert (new.tracks.track == other).sum() == 2
    assert new.track_muted[other] and not new.track_muted[whole]


def test_the_scene_stays_in_its_place(shot):
    """Whatever frame and size the adjustment ends in: cameras and points come out where the old solve had them."""
    turned = synthetic.make(seed=5)
    angle = np.radians(40)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    from solver.gauge import Similarity, moved

    old = moved(turned.solution, Similarity(turn, 3.7, np.array([5.0, -2.0, 11.0])))
    new = refined(apply_edits(old, Edits(drop=frozenset(range(40)))))
    size = np.linalg.norm(np.ptp(old.points, axis=0))
    assert np.abs(synthetic.centres(new) - synthetic.centres(old)).max() < 1e-3 * size
    _, a, b = np.intersect1d(old.point_track, new.point_track, return_indices=True)
    assert np.median(np.linalg.norm(old.points[a] - new.points[b], axis=1)) < 2e-3 * size
    assert new.world_id == refined(new).world_id != ""


def test_a_user_track_pulls_as_its_weight_says(shot):
    """All own tracks jump by a little in one frame, as after a knock; the user's tracks say that nothing jumped there.

    At the best camera of that frame the weighted sum of all residuals to the side is nought: so the weight can be read from
    how far own and user's points are off.
    """
    solution, knocked, jump = shot.solution, 14, 0.12
    t = solution.tracks
    solution = synthetic.with_xy(solution, t.xy + np.array([jump, 0.0]) * (t.frame_index == knocked)[:, None])
    extra = np.array([[-1.0, -0.6, 5.0], [1.2, 0.7, 5.5], [-0.8, 0.9, 7.0], [1.5, -0.9, 6.0], [0.2, 0.1, 6.5], [2.0, 0.1, 8.0]])
    seen = np.array([synthetic.project(extra, c)[0] for c in shot.cam_from_world])
    own = t.track[t.frame_index == knocked]
    own = own[~solution.track_held_out[own]]

    def shifts(weight: float) -> tuple[float, float]:
        """How far own and user's points are shifted to the side in the solved camera, px."""
        user = tuple(UserTrack(f"u{i}", solution.frame_numbers, seen[:, i], weight, 0.1) for i in range(len(extra)))
        new = refined(with_user_tracks(solution, user, Quiet()), same_model=True)
        points = np.full((new.tracks.track_count, 3), np.nan)
        points[new.point_track] = new.points
        q = points @ new.cam_from_world[knocked, :3, :3].T + new.cam_from_world[knocked, :3, 3]
        xy = new.focal_px[knocked] * q[:, :2] / q[:, 2:] + (new.camera.cx, new.camera.cy)
        mine = xy[[d["track"] for d in new.user_tracks]] - seen[knocked]
        theirs = xy[own] - synthetic.project(shot.points[own], shot.cam_from_world[knocked])[0]
        return float(np.nanmean(theirs[:, 0])), float(mine[:, 0].mean())

    for weight in (2.0, 20.0):
        theirs, mine = shifts(weight)
        assert 0 < mine < jump
        read = len(own) * (jump - theirs) / (len(extra) * mine)
        # own tracks, farther from where they should be in units of their own exactness, lose some force to the robust loss
        assert 0.8 * weight < read < 1.8 * weight


def test_user_tracks_are_kept_named_and_judged(shot):
    solution = shot.solution
    good, bad = np.array([[0.5, 0.2, 6.0], [-0.7, -0.5, 5.0]])
    xy = np.array([synthetic.project(np.array([good, bad]), c)[0] for c in shot.cam_from_world])
    xy[:, 1, 0] += np.linspace(-20, 20, len(xy)) ** 2 / 20  # sits on something that moves
    user = (UserTrack("Corner", solution.frame_numbers, xy[:, 0]), UserTrack("Hat", solution.frame_numbers, xy[:, 1]))
    lone = UserTrack("Lone", np.array([1005]), np.array([[30.0, 40.0]]))
    progress = Quiet()
    new = refined(with_user_tracks(solution, (*user, lone), progress))
    assert progress.warnings[0][0] == "user_tracks.short" and "Lone" in progress.warnings[0][1]
    assert [d["name"] for d in new.user_tracks] == ["Corner", "Hat"]
    first = new.user_tracks[0]["track"]
    assert first == solution.tracks.track_count
    assert new.user_tracks[0]["error_px"] < 0.3 < 2 < new.user_tracks[1]["error_px"]
    assert any('"Hat" contradicts' in line for line in new.verdict.statements)
    assert (new.track_label[first:] == 0).all() and not new.track_held_out[first:].any()
    # another set replaces the first; own tracks keep their numbers
    other = refined(with_user_tracks(new, user[:1], Quiet()))
    assert [d["name"] for d in other.user_tracks] == ["Corner"] and other.tracks.track_count == first + 1
    assert np.array_equal(other.tracks.xy[other.tracks.track < first], solution.tracks.xy)


def test_tracks_under_a_mask_are_left_out(shot):
    """A mask over the left part: tracks that stay there go, those that wander in lose their markers there."""

    class Left:
        def ignore(self, frame):
            picture = np.zeros((synthetic.HEIGHT, synthetic.WIDTH), bool)
            picture[:, :400] = True
            return picture if frame != 1005 else None

    t = shot.solution.tracks
    under = (t.xy[:, 0] < 400) & (t.frame_numbers[t.frame_index] != 1005)
    share = np.bincount(t.track, under) / np.bincount(t.track)
    edits = under_mask(shot.solution, Left())
    assert edits.drop == set(np.nonzero(share >= 0.5)[0].tolist()) and len(edits.drop) > 20
    new = apply_edits(shot.solution, edits)
    left = new.tracks
    live = ~new.track_muted[left.track]
    assert not ((left.xy[:, 0] < 400) & (left.frame_numbers[left.frame_index] != 1005))[live].any()
    assert (share[~new.track_muted] > 0).any()
    assert under_mask(new, Left()) == Edits()


# ---- the command ------------------------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "solver", "refine", *map(str, arguments), "--threads", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".log"}


@pytest.fixture
def folder(shot, tmp_path) -> Path:
    write_solution(shot.solution, tmp_path / "job")
    return tmp_path / "job"


def test_the_command_writes_a_whole_solve_twice_the_same(folder, shot, tmp_path):
    (tmp_path / "bad.txt").write_text("# slipped\n5, 7-9\n")
    markers = [
        [int(n), *map(float, synthetic.project(np.array([[0.5, 0.2, 6.0]]), c)[0][0])]
        for n, c in zip(range(1001, 1031), shot.cam_from_world)
    ]
    (tmp_path / "mine.json").write_text(json.dumps({"tracks": [{"name": "Door", "markers": markers}]}))
    before = contents(folder)
    options = ("--tracks", tmp_path / "bad.txt", "--drop", "20", "--user-tracks", tmp_path / "mine.json")
    done = command(folder, "--out", tmp_path / "a", *options, "--events")
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "result" and Path(events[-1]["out"]) == tmp_path / "a"
    assert next(e["stage"] for e in events if e["event"] == "progress") == "open"
    assert contents(folder) == before
    document = load_document(tmp_path / "a")
    assert document["history"] == [{"did": "refine", "dropped": [5, 7, 8, 9, 20], "user_tracks": 1}]
    assert document["user_tracks"][0]["name"] == "Door" and document["quality"]["muted"] == 5
    assert load_solution(tmp_path / "a").track_muted.sum() == 5
    assert command(folder, *options).returncode == 0  # into the folder itself
    a, b = contents(tmp_path / "a"), contents(folder)
    assert stable_part(json.loads(a.pop("solve.json"))) == stable_part(json.loads(b.pop("solve.json")))
    assert a == b


def test_cancelling_leaves_the_old_solve_as_it_was(folder):
    before = contents(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "solver", "refine", str(folder), "--drop", "3", "--events", "--threads", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if '"adjust"' in line or '"start"' in line:
            break
    begun = time.monotonic()
    process.terminate()
    process.communicate()
    assert time.monotonic() - begun < 2.0
    assert process.returncode == 7
    assert contents(folder) == before
    assert not list(folder.glob(".holdfast-*"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--drop", "9999"), 2, "no track 9999"),
        (("--drop", "x"), 2, "not a track number"),
        (("--drop", "4", "--restore", "4"), 2, "left out and taken back"),
        (("--tracks", "nowhere.txt"), 3, "cannot be read"),
        (("--user-tracks", "nowhere.json"), 3, "cannot be read"),
        (("--range", "20", "10"), 2, "after the last"),
        (("--clip", "x.mp4"), 2, "--range"),
        (("--focal", "known"), 2, "needs a focal length"),
    ],
)
def test_bad_options_say_so_in_one_line(folder, arguments, code, words):
    before = contents(folder)
    done = command(folder, *arguments, "--events")
    assert done.returncode == code, done.stdout + done.stderr
    error = json.loads(done.stdout.splitlines()[-1])
    assert error["event"] == "error" and words in error["message"] and error["hint"]
    assert "Traceback" not in done.stderr
    assert contents(folder) == before


def test_a_folder_without_a_solve_says_so(tmp_path):
    done = command(tmp_path / "none")
    assert done.returncode == 3 and "no finished solve" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"tracks": 3}', '{"tracks": [{"markers": [[1, 2]]}]}', '{"tracks": [{"markers": [[1, 1e9, 2], [2, 3, 4]]}]}',
     '{"tracks": [{"markers": [[1, 10, 2], [1, 3, 4]]}]}', '{"tracks": [{"weight": -1, "markers": [[1, 10, 2], [2, 3, 4]]}]}'],
)  # fmt: skip
def test_damaged_user_tracks_are_refused(tmp_path, text):
    (tmp_path / "u.json").write_text(text)
    with pytest.raises(HoldfastError) as error:
        read_user_tracks(tmp_path / "u.json", 1280, 720)
    assert error.value.code.startswith("user_tracks.") and error.value.hint


def test_lists_of_tracks(tmp_path):
    assert parse_numbers("3, 5-7 9", "--drop") == {3, 5, 6, 7, 9}
    (tmp_path / "t.json").write_text('{"drop": [1, 2], "restore": [5], "cut": [[7, 1001, 1004]]}')
    assert read_edits(tmp_path / "t.json") == Edits(frozenset({1, 2}), frozenset({5}), ((7, 1001, 1004),))
    (tmp_path / "t.json").write_text('{"cut": [[7]]}')
    with pytest.raises(HoldfastError):
        read_edits(tmp_path / "t.json")
