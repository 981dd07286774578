"""The bench's shots: camera paths and lenses as described, and pictures that agree with their truth to a fraction of a pixel."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bench import metrics, movers, scenes, shots, textures, trajectories

SAMPLE = Path(__file__).resolve().parent / "data" / "sample" / "sample.mp4"


def test_pictures_of_the_sample_agree_with_its_truth():
    """Patches around true points, followed from the middle frame to the first, arrive where the true cameras say."""
    truth = metrics.load_truth(SAMPLE.with_name("sample.gt.json"))
    capture = cv2.VideoCapture(str(SAMPLE))
    images = []
    while (got := capture.read())[0]:
        images.append(cv2.cvtColor(got[1], cv2.COLOR_BGR2GRAY))
    assert len(images) == len(truth.c2w) == 48

    def project(frame: int) -> np.ndarray:
        w2c = np.linalg.inv(truth.c2w[frame])
        p = truth.grid_xyz @ w2c[:3, :3].T + w2c[:3, 3]
        fx, fy, cx, cy = truth.intrinsics[frame]
        return np.c_[fx * p[:, 0] / p[:, 2] + cx, fy * p[:, 1] / p[:, 2] + cy] - 0.5

    start, end = project(24).astype(np.float32), project(12)
    window = {"winSize": (17, 17), "maxLevel": 3}
    found, ok, _ = cv2.calcOpticalFlowPyrLK(images[24], images[12], start[:, None], None, **window)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(images[12], images[24], found, None, **window)
    sure = (ok.ravel() > 0) & (ok_back.ravel() > 0) & (np.linalg.norm(back[:, 0] - start, axis=1) < 0.2)
    offset = (found[:, 0] - end)[sure]
    assert sure.sum() > 100
    assert np.median(np.linalg.norm(start - end, axis=1)) > 3  # there was something to follow
    assert np.median(np.linalg.norm(offset, axis=1)) < 0.2
    assert np.abs(np.median(offset, axis=0)).max() < 0.06


@pytest.fixture(scope="module")
def places() -> dict[str, scenes.Place]:
    """Every place, built once for all kinds: making its textures takes seconds."""
    return {name: getattr(scenes, name)(3) for name in ("room", "street", "courtyard", "stage")}


@pytest.fixture
def built_once(places, monkeypatch):
    """The recipes get copies of those places."""

    def copy_of(place: scenes.Place):
        return lambda seed: dataclasses.replace(
            place, scene=dataclasses.replace(place.scene, items=list(place.scene.items)), movers=[]
        )

    for name, place in places.items():
        monkeypatch.setattr(scenes, name, copy_of(place))


@pytest.mark.parametrize("name", [*shots.KINDS, *shots.MIXED])
def test_every_kind_moves_as_it_says(name, built_once):
    kind = shots.ALL_KINDS[name]
    count = 48
    place, path = kind.make(count, np.random.default_rng(3), 3)
    views = [path(float(t)) for t in range(count)]
    poses = np.array([c2w for c2w, _ in views])
    assert np.allclose(np.einsum("nij,nkj->nik", poses[:, :3, :3], poses[:, :3, :3]), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(poses[:, :3, :3]), 1)
    travelled = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1).max()
    turned = max(metrics.rotation_angle_deg(poses[0, :3, :3].T @ p) for p in poses[:, :3, :3])
    assert (travelled > 1e-9) == (kind.motion == "free")
    assert (turned > 1e-6) == (kind.motion != "static")
    assert (len(place.movers) > 0) == (name in ("lockoff", "actors", "traffic", "actors_zoom", "following"))
    assert place.scene.items
    if name == "whip_pan":
        steps = metrics.rotation_angle_deg(np.einsum("nji,njk->nik", poses[:-1, :3, :3], poses[1:, :3, :3]))
        assert steps.max() > 5 and np.median(steps) < 0.5


def test_paths_are_smooth_between_frames():
    """Motion blur and rolling shutter sample a path between frames: no jumps there."""
    rng = np.random.default_rng(1)
    path = trajectories.moving([0, 0, 1.5], [1, 0, 1.5], [0, 4, 1], 48, 0.8, rng, 0.01, 0.5)
    fine = np.array([path(t)[0][:3, 3] for t in np.arange(0, 20, 0.02)])
    second = np.diff(fine, 2, axis=0)
    assert np.abs(second).max() < 1e-4


def test_look_at_puts_the_target_in_the_middle():
    c2w = trajectories.look_at(np.array([1.0, -2, 1.5]), np.array([0.0, 4, 1]))
    p = np.linalg.inv(c2w) @ [0, 4, 1, 1]
    assert p[2] > 0 and np.allclose(p[:2], 0, atol=1e-12)
    above = np.linalg.inv(c2w) @ [0, 4, 2, 1]
    assert above[1] < p[1]  # y points down


def test_people_stand_on_the_ground_and_walk():
    rng = np.random.default_rng(5)
    person = movers.Person(rng, movers.straight((0, 0), (0.05, 0)), 1001)
    first, later = person.items(0), person.items(40)
    centre = [np.mean([i.position for i in items], axis=0) for items in (first, later)]
    assert centre[1][0] - centre[0][0] == pytest.approx(2.0, abs=0.05)
    lowest = min(float((i.position + (i.mesh.vertices * i.scale) @ i.rotation.T)[:, 2].min()) for i in first)
    assert -0.1 < lowest < 0.12
    assert {i.object_id for i in first} == {1001}


def test_places_repeat_and_differ_by_seed():
    one, same, other = scenes.stage(3), scenes.stage(3), scenes.stage(4)
    assert all(np.array_equal(a.texture, b.texture) for a, b in zip(one.scene.items, same.scene.items))
    assert any(not np.array_equal(a.texture, b.texture) for a, b in zip(one.scene.items, other.scene.items))


def test_tiling_noise_has_no_seam():
    picture = textures.noise(np.random.default_rng(0), 256, 4, 4)
    seam = np.abs(picture[:, 0] - picture[:, -1]).mean()
    inside = np.abs(np.diff(picture, axis=1)).mean()
    assert seam < 2 * inside


def test_the_sweep_is_one_move_at_many_lengths(built_once):
    lengths = []
    for name, pct in zip(shots.SWEEP, shots.SWEEP_PCT):
        place, path = shots.SWEEP[name].make(24, np.random.default_rng(5), 7)
        poses = np.array([path(float(t))[0] for t in range(24)])
        travelled = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1).max()
        lengths.append(travelled / np.linalg.norm(place.focus - poses[12, :3, 3]) / (pct / 100))
    assert np.allclose(lengths, 1, atol=0.2)
