"""Shaken cameras whose sensors are read row by row: what they do is told from what the rows make of it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from solver.selfcheck import Contender, decide, questions
from solver.types import Settings, Tracks
from solver.view import ShotView, World
from tests.test_solver_motion import ALL, FOCAL_PX, FRAME, FRAMES, HEIGHT, POINTS, WIDTH, under_truth


def shaken(way_m: float, row_time: float, seed: int = 0) -> tuple[ShotView, World]:
    """(view, true world at the middle row's times) of boxes 4 to 9 m away, from a hand that shakes once in 7 to 12 frames and
    goes aside by way_m."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-0.5, 0.5, POINTS), rng.uniform(-0.28, 0.28, POINTS)
    points = np.c_[u, v, np.ones(POINTS)] * (6.5 + 2.5 * np.sign(np.sin(11 * u) * np.sin(9 * v)))[:, None]

    def camera(time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turn = 0.008 * np.stack([np.sin(0.9 * time), np.cos(0.7 * time), 0.5 * np.sin(0.55 * time)], -1)
        s = time / FRAMES - 0.5
        return Rotation.from_rotvec(turn).as_matrix(), way_m * np.stack([s, 0.3 * s**2, 0.1 * s], -1)

    track, frame = np.divmod(np.arange(POINTS * FRAMES), FRAMES)
    time = frame.astype(float)
    for _ in range(8):  # which row a point is in depends on when it is read
        rotation, centre = camera(time)
        q = np.einsum("mij,mj->mi", rotation, points[track] - centre)
        xy = FOCAL_PX * q[:, :2] / q[:, 2:] + [WIDTH / 2, HEIGHT / 2]
        time = frame + row_time * (xy[:, 1] / HEIGHT - 0.5)
    xy += 0.1 * rng.normal(size=xy.shape)
    rotation, centre = camera(FRAME.astype(float))
    world = World.blank(FRAMES, POINTS, FOCAL_PX)
    world.rotation[:], world.translation[:] = rotation, -np.einsum("fij,fj->fi", rotation, centre)
    distance = np.linalg.norm(points, axis=1)
    world.direction[:], world.rho[:], world.origin[:] = points / distance[:, None], 1 / distance, 0.0
    world.registered[:] = world.known[:] = True
    return ShotView(Tracks(FRAME, track, frame, xy, np.full(len(track), 0.1, np.float32), POINTS), WIDTH, HEIGHT, {}), world


def contest(view: ShotView, world: World) -> tuple[Contender, list[Contender]]:
    """(winner, contenders) over everything, begun with a camera that seems to travel beyond doubt, and to zoom."""
    base = under_truth(world)
    base.model = replace(base.model, focal_varies=True)
    held = np.arange(POINTS) % 10 == 0
    return decide(view, base, questions(Settings(), base.model, travels=True), FRAME, ALL & ~held, held, 0)


@pytest.mark.parametrize("row_time", [0.4, 0.8])
@pytest.mark.parametrize("way_m", [0.0, 0.3])
def test_rows_are_neither_a_path_nor_a_zoom(way_m, row_time):
    view, world = shaken(way_m, row_time)
    winner, contenders = contest(view, world)
    assert winner.model.row_time, [c.why for c in contenders]
    assert winner.state.world.row_time == pytest.approx(row_time, abs=0.02)
    assert not winner.model.focal_varies, [c.why for c in contenders]
    assert winner.model.translation == (way_m > 0), [c.why for c in contenders]
    assert winner.held.rms_px < 0.17  # the noise of the tracks is 0.1 a coordinate


@pytest.mark.parametrize("row_time", [0.4, 0.8])
@pytest.mark.parametrize("seed", range(6))
def test_a_tripod_that_shakes_does_not_travel(seed, row_time):
    """Prints what a path would have explained (-s)."""
    winner, contenders = contest(*shaken(0.0, row_time, seed))
    paths = [c.why for c in contenders if c.model.translation and c.model.row_time and c.why.startswith("motion")]
    print(f"\nrows over {row_time} of a frame, seed {seed}: {'; '.join(paths)}", end="")
    assert not winner.model.translation, [c.why for c in contenders]
    assert not winner.model.focal_varies, [c.why for c in contenders]


def test_half_a_percent_of_the_depth_is_a_path_whatever_the_rows():
    winner, contenders = contest(*shaken(0.03, 0.4, 1))
    print(f"\n{[c.why for c in contenders if c.model == winner.model]}", end="")
    assert winner.model.translation, [c.why for c in contenders]
    winner, contenders = contest(*shaken(0.03, 0.8))
    assert winner.model.translation, [c.why for c in contenders]


def test_a_shake_read_at_once_has_no_rows():
    winner, contenders = contest(*shaken(0.3, 0.0))
    assert not winner.model.row_time, [c.why for c in contenders]


def test_rows_that_would_take_longer_than_a_frame_are_not_believed(monkeypatch):
    """However well they explain the tracks."""
    monkeypatch.setattr("solver.selfcheck.LONGEST_READ", 0.3)
    winner, contenders = contest(*shaken(0.3, 0.4))
    assert not winner.model.row_time
    assert any("rows would be read over 0.40 of a frame" in c.why for c in contenders)


def test_progress_reaches_the_end_where_the_last_question_does_not_arise():
    view, world = shaken(0.3, 0.0)
    base = under_truth(world)
    held = np.arange(POINTS) % 10 == 0
    asked = questions(Settings(distortion="none"), base.model, travels=True)
    told = []
    decide(view, base, asked, FRAME, ALL & ~held, held, 0, progress=lambda done, total: told.append((done, total)))
    assert told == [(k + 1, len(asked)) for k in range(len(asked))]
