"""The live picture: events become arrays, arrays places and colours; editors follow the solver and get their frame back."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest

from . import synthetic


def test_events_become_a_picture():
    from addon import live

    picture = live.LivePicture()
    event = json.loads(
        '{"event": "preview", "kind": "keypoints", "frame": 7, "points": [[10.5, 20, 0.25], [5, 6, null], [1, 2, -1]]}'
    )
    assert picture.take(event)
    assert (picture.frame, picture.keypoints_at) == (7, 1)
    rows = picture.keypoints[7]
    assert rows[:, :2].tolist() == [[10.5, 20], [5, 6], [1, 2]]
    colours = live.depth_colours(rows[:, 2])
    assert colours[1].tolist() == list(live.UNKNOWN)
    assert colours[2].tolist() == list(live.MOVER)
    assert picture.take(
        {
            "kind": "scene",
            "path": [[0, 0, 0], [1, 0, 0]],
            "forward": [0, 0, 1],
            "points": [[1, 2, 3, 255, 0, 51]],
            "stage": "adjust",
        }
    )
    assert picture.colours.tolist() == [[1.0, 0.0, 0.2]]
    assert picture.scene_at == 1


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "keypoints", "frame": 1},
        {"kind": "keypoints", "frame": 1, "points": [[1, 2]]},
        {"kind": "keypoints", "frame": 1, "points": [[None, 2, 0.5]]},
        {"kind": "keypoints", "frame": "x", "points": [[1, 2, 0.5]]},
        {"kind": "scene", "path": "no", "points": []},
        {"kind": "scene", "path": [[0, 0, None]], "points": []},
        {"kind": "weather"},
    ],
)
def test_nonsense_changes_nothing(data):
    from addon import live

    picture = live.LivePicture()
    assert not picture.take(data)
    assert (picture.keypoints_at, picture.scene_at, picture.keypoints) == (0, 0, {})


def test_near_is_warm_and_far_is_cold():
    from addon import live

    colours = live.depth_colours(np.linspace(0, 1, 11))
    assert colours[0, 2] > colours[0, 0]
    assert colours[-1, 0] > colours[-1, 2]
    assert (np.abs(np.diff(colours, axis=0)).sum(1) > 0.05).all()  # every step can be told from the next


def test_finished_tracks_by_error_and_depth(tmp_path):
    from addon import jobfolder, live

    truth = synthetic.write_job(tmp_path, pictures=False, k1=-0.1)
    shot = jobfolder.read_shot(truth.folder)
    solved = live.SolvedPicture(shot)
    xy, colours = solved.keypoints(1004, "ERROR")
    rows = shot.tracks.number == 1004
    assert len(xy) == rows.sum() > 50
    label = shot.tracks.label[shot.tracks.track[np.flatnonzero(rows)]]
    order = np.argsort(shot.tracks.track[rows], kind="stable")
    assert np.allclose(np.sort(xy[:, 0]), np.sort(shot.tracks.xy[rows][:, 0]))
    assert (colours[label[order] == 1] == live.MOVER).all()
    static = colours[label[order] == 0]
    assert (static[:, 1] > 0.9).all()  # exact tracks are green
    assert (static[:, 0] < 0.1).all()
    _, by_depth = solved.keypoints(1004, "DEPTH")
    _, depth = synthetic.project(truth.points, truth.c2w[3], *truth.intrinsics[3])
    ids = shot.tracks.track[np.flatnonzero(rows)]
    keep = label == 0
    near, far = ids[keep][np.argmin(depth[ids[keep]])], ids[keep][np.argmax(depth[ids[keep]])]
    assert by_depth[list(ids).index(near), 0] > 0.8
    assert by_depth[list(ids).index(far), 2] > 0.6
    assert len(solved.keypoints(5, "ERROR")[0]) == 0


def test_places_follow_zoom_and_pan():
    from addon import overlay

    class View2D:
        @staticmethod
        def view_to_region(x, y, clip=True):
            return round(37.4 + 812.5 * x), round(-12.2 + 457.0 * y)  # whole pixels, as Blender gives them

    class Region:
        view2d = View2D

    places = overlay.clip_to_region(Region, np.array([(0.0, 0.0), (1.0, 1.0), (0.25, 0.5)]))
    assert np.abs(places - [(37.4, -12.2), (849.9, 444.8), (240.525, 216.3)]).max() < 0.6


def test_the_clip_editor_follows_and_gets_its_frame_back(blender, tmp_path):
    from addon import following, headless, properties

    truth = synthetic.write_job(tmp_path, frames=8)
    clip = headless.load_clip(truth.footage)
    properties.ensure_uid(clip)
    window = blender.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type != "VIEW_3D")
    area.type = "CLIP_EDITOR"
    space = area.spaces.active
    space.clip = clip
    blender.context.scene.frame_set(2)
    space.clip_user.frame_current = 2
    following.follow(clip, 1005)  # the sequence's own number
    assert space.clip_user.frame_current == 5
    following.follow(clip, 1006)
    assert space.clip_user.frame_current == 6
    following.stop_following(clip.holdfast.uid)
    assert space.clip_user.frame_current == 2
    following.follow(clip, 1004)
    space.clip_user.frame_current = 8  # the artist looks elsewhere
    following.follow(clip, 1005)
    assert space.clip_user.frame_current == 8
    following.stop_following(clip.holdfast.uid)
    assert space.clip_user.frame_current == 8
    assert not following._following


def test_a_running_solve_is_listened_to_and_imported_by_ticks(blender, tmp_path, monkeypatch):
    """The timer's function, called as the timer would: previews arrive, the import is prepared beside it and happens once."""
    from addon import following, headless, overlay, properties, scene_objects, session
    from addon.job import SolverJob

    truth = synthetic.write_job(tmp_path, frames=6)
    scene, clip = blender.context.scene, headless.load_clip(truth.footage)
    properties.ensure_uid(clip)
    scene.holdfast.clip = clip
    code = (
        "import json, time\n"
        "def say(**e): print(json.dumps(e), flush=True)\n"
        "say(event='progress', stage='track', done=1, total=6, eta_s=3)\n"
        "say(event='preview', kind='keypoints', frame=1003, points=[[1, 2, 0.5]])\n"
        "say(event='preview', kind='scene', stage='start', path=[[0, 0, 0]], forward=[0, 0, 1], points=[])\n"
        "time.sleep(0.3)\n"
        "say(event='result', out='x', summary='Fine')\n"
    )
    shot = session.ShotJob(SolverJob([sys.executable, "-c", code], truth.folder), clip.name, clip.holdfast.uid, scene.name, "SET")
    monkeypatch.setitem(session.jobs, clip.holdfast.uid, shot)
    shot.solver.start()
    end, seen = time.monotonic() + 20, set()
    while session._tick() is not None and time.monotonic() < end:
        picture = overlay.live_picture(clip)
        if picture is not None and picture.scene_at:
            seen.add((picture.keypoints_at, picture.scene_at))
        time.sleep(0.01)
    assert seen == {(1, 1)}
    assert shot.imported, shot.message
    assert not shot.busy
    assert overlay.live_picture(clip) is None
    assert scene_objects.find(scene, clip.holdfast.uid, scene_objects.CAMERA) == scene.camera
    assert not following._following
    assert session.slowest_tick_s < 0.05


def test_unregister_takes_the_drawing_away(blender, addon):
    from addon import overlay

    assert len(overlay._handles) == 2
    addon.unregister()
    try:
        assert not overlay._handles
        assert not overlay._solved
    finally:
        addon.register()
    assert len(overlay._handles) == 2
