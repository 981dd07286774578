"""Which way is up: by the ground, by the axis of a pan, and not by a wall."""

from __future__ import annotations

import json

import numpy as np
import pytest

from . import synthetic


def up_of(shot):
    """Up in the solver's world, as the scene stands."""
    from addon import orientation

    stand = orientation.stand_up(shot)
    return stand.scene_from_world[2, :3] / stand.scale, stand


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ground_is_found_in_any_gauge(tmp_path, seed):
    from addon import jobfolder

    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    gauge = np.eye(4)
    gauge[:3, :3] = rng.uniform(0.2, 5) * turn * np.sign(np.linalg.det(turn))
    gauge[:3, 3] = rng.normal(size=3)
    truth = synthetic.write_job(tmp_path, width=640, height=360, focal=600.0, gauge=gauge, pictures=False)
    up, stand = up_of(jobfolder.read_shot(truth.folder))
    true = gauge[:3, 2] / np.linalg.norm(gauge[:3, 2])
    assert stand.ground
    assert np.degrees(np.arccos(np.clip(up @ true, -1, 1))) < 0.5
    floor = truth.points[:300] @ stand.scene_from_world[:3, :3].T + stand.scene_from_world[:3, 3]
    assert np.abs(floor[:, 2]).max() < 0.02 * stand.scale * np.cbrt(np.linalg.det(gauge[:3, :3]))


def test_a_tripods_pan_shows_what_is_plumb(tmp_path):
    """The points say a floor that is tilted by 8 degrees (as single-image depth may); the pan's axis says otherwise."""
    from addon import jobfolder, orientation

    truth = synthetic.write_job(tmp_path, width=640, height=360, focal=600.0, pictures=False, depth=False)
    data = json.loads((truth.folder / "solve.json").read_text())
    data["verdict"]["motion"] = data["motion"] = "rotation"
    middle = np.array(data["frames"][4]["c2w"])
    for i, frame in enumerate(data["frames"]):
        turned = middle.copy()
        turned[:3, :3] = synthetic.rotation("z", 0.03 * (i - 4)) @ middle[:3, :3]
        frame["c2w"] = turned.tolist()
    (truth.folder / "solve.json").write_text(json.dumps(data))
    points = dict(np.load(truth.folder / "points.npz"))
    eye = middle[:3, 3]
    points["xyz"] = ((points["xyz"] - eye) @ synthetic.rotation("x", np.radians(8.0)).T + eye).astype(np.float32)
    np.savez(truth.folder / "points.npz", **points)
    shot = jobfolder.read_shot(truth.folder)
    assert orientation.pan_axis(shot) == pytest.approx([0, 0, 1], abs=1e-3)
    up, stand = up_of(shot)
    assert np.degrees(np.arccos(up[2])) < 0.1
    assert "pan" in stand.words


def test_other_moves_have_no_pan_axis(tmp_path):
    from addon import jobfolder, orientation

    truth = synthetic.write_job(tmp_path, pictures=False)
    assert orientation.pan_axis(jobfolder.read_shot(truth.folder)) is None


def test_a_wall_is_not_the_ground(tmp_path):
    """Only a wall that leans is seen: the camera is taken as level."""
    from addon import jobfolder

    truth = synthetic.write_job(tmp_path, pictures=False, depth=False)
    points = dict(np.load(truth.folder / "points.npz"))
    rng = np.random.default_rng(0)
    count = len(points["xyz"])
    points["xyz"] = np.stack([rng.uniform(-3, 3, count), 6 + rng.normal(0, 0.01, count), rng.uniform(0, 3, count)], 1).astype(
        np.float32
    )
    np.savez(truth.folder / "points.npz", **points)
    shot = jobfolder.read_shot(truth.folder)
    up, stand = up_of(shot)
    assert not stand.ground
    assert up == pytest.approx(-shot.c2w[shot.middle, :3, 1], abs=1e-6)
