"""Previews of a running solve: compact, rate-limited, right, and nothing where nobody watches."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import Future

import numpy as np
import pytest

from solver import preview as module
from solver.events import JsonReporter, TextReporter
from solver.preview import MAX_POINTS, Preview
from solver.reconstruct import State
from solver.types import LABEL_MOVER, LABEL_STATIC, DepthMap, Tracks
from solver.view import ShotView, World

WIDTH, HEIGHT = 640, 360


@pytest.fixture
def watched():
    """A reporter that writes JSON, and what it wrote."""
    stream = io.StringIO()
    return JsonReporter(stream), lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def ready(depth):
    future = Future()
    future.set_result(depth)
    return future


def test_keypoints_carry_the_keyframes_depth(watched, monkeypatch):
    reporter, said = watched
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    preview = Preview(reporter)
    ids = np.arange(200)
    rng = np.random.default_rng(1)
    xy = rng.uniform((0, 0), (WIDTH - 1, HEIGHT - 1), (200, 2))
    disparity = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (45, 1))  # near on the right
    waiting = {0: ready(DepthMap(0, "disparity", disparity))}
    preview.tracked(0, 100, ids, xy, (WIDTH, HEIGHT), waiting)
    preview.tracked(1, 101, np.r_[ids[50:], 500], np.r_[xy[50:] + 1, [[3.0, 4.0]]], (WIDTH, HEIGHT), waiting)
    first, second = said()
    assert (first["event"], first["kind"], first["frame"], second["frame"]) == ("preview", "keypoints", 100, 101)
    rows = np.array([[x, y, np.nan if n is None else n] for x, y, n in first["points"]])
    assert np.allclose(rows[:, :2], xy + 0.5, atol=0.06)
    assert np.corrcoef(rows[:, 0], rows[:, 2])[0, 1] > 0.99
    later = second["points"]
    assert later[-1][2] is None  # a track that is newer than the keyframe
    assert later[0][2] == pytest.approx(first["points"][50][2])


def test_rate_and_size_are_limited(watched):
    reporter, said = watched
    preview = Preview(reporter)
    xy = np.random.default_rng(0).uniform(0, 300, (5000, 2))
    begun = time.monotonic()
    for i in range(200):
        preview.tracked(i, i, np.arange(5000), xy, (WIDTH, HEIGHT), {})
    assert len(said()) <= 1 + (time.monotonic() - begun) / module.INTERVAL_S
    assert len(said()[0]["points"]) <= MAX_POINTS
    assert len(json.dumps(said()[0])) < 12000


def test_a_failed_depth_map_is_left_to_others(watched, monkeypatch):
    reporter, said = watched
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    future = Future()
    future.set_exception(RuntimeError("no"))
    Preview(reporter).tracked(0, 7, np.arange(3), np.ones((3, 2)), (WIDTH, HEIGHT), {0: future})
    assert [p[2] for p in said()[0]["points"]] == [None] * 3


def test_nobody_watches():
    stream = io.StringIO()
    preview = Preview(TextReporter(stream))
    assert not preview.wanted
    preview.tracked(0, 0, np.arange(3), np.ones((3, 2)), (WIDTH, HEIGHT), {})
    preview.solved("start", None, None, None, 0)  # not even looked at
    assert stream.getvalue() == ""


def test_the_scene_is_told_in_the_first_cameras_axes(watched):
    """A camera that travels along x past points 4 away, the whole world turned and scaled: path and points come out in units of
    the median distance, whatever the solver's own frame is."""
    reporter, said = watched
    frames, count = 5, 60
    rng = np.random.default_rng(3)
    local = np.c_[rng.uniform(-1, 1, (count, 2)), np.full(count, 4.0)]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    size, place = 7.0, np.array([5.0, -2.0, 1.0])
    world = World.blank(frames, count, 500.0)
    centres = np.array([[0.1 * i, 0.0, 0.0] for i in range(frames)])
    for i in range(frames):
        world.rotation[i] = turn.T
        world.translation[i] = -turn.T @ (size * turn @ centres[i] + place)
    points = size * local @ turn.T + place
    world.origin[:] = place
    offset = points - place
    distance = np.linalg.norm(offset, axis=1)
    world.direction[:], world.rho[:] = offset / distance[:, None], 1.0 / distance
    world.known[:] = True
    world.registered[:4] = True
    track = np.repeat(np.arange(count), frames).astype(np.int32)
    index = np.tile(np.arange(frames), count).astype(np.int32)
    xy = rng.uniform(10, 300, (count * frames, 2))
    tracks = Tracks(np.arange(1001, 1001 + frames), track, index, xy, np.full(len(track), 0.1, np.float32), count)
    label = np.full(count, LABEL_STATIC)
    label[5] = LABEL_MOVER
    colour = np.tile(np.array([[10, 20, 30]], np.uint8), (count, 1))
    Preview(reporter).solved("adjust", ShotView(tracks, WIDTH, HEIGHT, {}), State(world, label, 1.0), colour, 2)
    keypoints, scene = said()
    assert keypoints["frame"] == 1003
    assert [row[2] for row in keypoints["points"]].count(-1.0) == 1
    assert (scene["kind"], scene["stage"]) == ("scene", "adjust")
    assert np.allclose(scene["path"], centres[:4] / 4.0, atol=2e-4)
    found = np.array(scene["points"])
    assert np.allclose(found[:, :3], np.delete(local, 5, axis=0) / 4.0, atol=2e-3)
    assert found[0, 3:].tolist() == [10, 20, 30]
    assert np.allclose(scene["forward"], [0, 0, 1], atol=1e-3)
