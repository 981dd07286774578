"""Steadying takes noise out of a path, and leaves motion, jolts and trembling hands alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from solver import steady as module
from solver.bundle_model import Unknowns, rotation_exp
from solver.reconstruct import Model
from solver.steady import between_jolts, noise_of, path_of, steadied

FRAMES = 72


def smooth_path(columns: int = 6) -> np.ndarray:
    """A move as a dolly makes it."""
    t = np.linspace(0, 1, FRAMES)
    return np.stack([np.sin(3 * t + k) * (1 + k) for k in range(columns)], 1)


def mixed_noise(rng: np.random.Generator, size: float) -> np.ndarray:
    """White in time, but turning and travelling take up each other's."""
    return rng.normal(size=(FRAMES, 6)) * size @ (np.eye(6) + 0.8 * np.roll(np.eye(6), 3, axis=1))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def cameras(path: np.ndarray) -> Unknowns:
    """Cameras (F,) with turn and shift per axis as in path (F, 6), seen by no points."""
    rotation = rotation_exp(path[:, :3])
    n = len(path)
    return Unknowns(
        rotation, path[:, 3:].copy(), np.full(n, 7.0), 0.0, 0.0, 0.0, np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3)),
        np.zeros(0), np.zeros(0),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_most_noise_leaves_a_smooth_path(seed):
    noise = mixed_noise(np.random.default_rng(seed), 0.01)
    found = noise_of(smooth_path() + noise)
    assert rms(noise - found) < 0.6 * rms(noise)


def test_a_path_without_noise_stays():
    assert rms(noise_of(smooth_path())) < 1e-3 * 0.01
    assert not noise_of(np.zeros((FRAMES, 6))).any()


def test_an_axis_that_never_moves_stays():
    path = smooth_path() + mixed_noise(np.random.default_rng(0), 0.01)
    path[:, 4] = 3.0
    assert not noise_of(path)[:, 4].any()


def test_a_jolt_stays_as_sharp_as_it_was():
    noise = mixed_noise(np.random.default_rng(1), 0.01)
    path = smooth_path() + noise
    path[30:] += 1.0
    assert [len(part) for part in between_jolts(path)] == [30, FRAMES - 30]
    x = steadied(cameras(path), np.arange(FRAMES), translation=True, focal_varies=False)
    true = smooth_path()[30, 3:] - smooth_path()[29, 3:] + 1.0
    assert np.abs(x.translation[30] - x.translation[29] - true).max() < 0.1


def test_a_stretch_that_keeps_jumping_is_left_alone():
    path = smooth_path() + mixed_noise(np.random.default_rng(2), 0.001)
    path[30:42] += np.random.default_rng(3).normal(size=(12, 6))
    lengths = [len(part) for part in between_jolts(path)]
    assert lengths[0] + lengths[-1] == FRAMES - 12
    x = steadied(cameras(path), np.arange(FRAMES), translation=True, focal_varies=False)
    assert np.array_equal(x.translation[31:41], cameras(path).translation[31:41])


def test_the_path_is_what_the_cameras_feel():
    """A small step of one camera in its own axes adds to its row alone."""
    path = smooth_path() * 0.1
    before = cameras(path)
    small = np.array([2e-5, -1e-5, 3e-5, 1e-4, 2e-4, -1e-4])
    turn = rotation_exp(small[None, :3])[0]
    rotation, translation = before.rotation.copy(), before.translation.copy()
    rotation[20] = turn @ rotation[20]
    translation[20] = turn @ translation[20] + small[3:]
    after = Unknowns(**(before.__dict__ | {"rotation": rotation, "translation": translation}))
    rows = np.arange(FRAMES)
    change = (path_of(after, rows) - path_of(before, rows))[:, :6]
    assert np.abs(change[20] - small).max() < 0.05 * np.abs(small).max()
    change[20] = 0
    assert np.abs(change).max() < 0.05 * np.abs(small).max()


def test_cameras_come_nearer_to_the_true_ones():
    rng = np.random.default_rng(5)
    true = cameras(smooth_path() * 0.1)
    noise = mixed_noise(rng, 1e-4)
    turn = rotation_exp(noise[:, :3])
    rotation = turn @ true.rotation
    translation = (turn @ true.translation[:, :, None])[:, :, 0] + noise[:, 3:]
    noisy = Unknowns(**(true.__dict__ | {"rotation": rotation, "translation": translation}))
    found = steadied(noisy, np.arange(FRAMES), translation=True, focal_varies=False)
    assert rms(found.rotation - true.rotation) < 0.7 * rms(noisy.rotation - true.rotation)
    assert rms(found.translation - true.translation) < 0.7 * rms(noisy.translation - true.translation)


def test_a_gap_parts_the_path():
    """Frames 0 to 35, then 60 to 95: what lies between is no jump of the camera."""
    path = smooth_path()
    path[36:] += 4.0
    numbers = np.r_[np.arange(36), np.arange(60, 96)]
    x = steadied(cameras(path), numbers, translation=True, focal_varies=False)
    assert np.abs(x.translation - path[:, 3:]).max() < 1e-4


@pytest.mark.parametrize(("size", "kept"), [(0.1, False), (0.6, True)])
def test_a_trembling_hand_is_not_taken_for_noise(monkeypatch, size, kept):
    """Where what would be taken out moves the picture by much against the tracks' own noise, it stays."""
    x = cameras(smooth_path())
    moved = Unknowns(**(x.__dict__ | {"translation": x.translation + size}))
    residual = {id(x): np.ones((50, 2)), id(moved): np.ones((50, 2)) + size / np.sqrt(2)}
    monkeypatch.setattr(module, "steadied", lambda *_, **__: moved)
    monkeypatch.setattr(module, "project", lambda _, those: SimpleNamespace(residual=residual[id(those)]))
    taken = []
    world = SimpleNamespace(known=np.ones(5, bool), gather=lambda *_: x, scatter=lambda _, those: taken.append(those is moved))
    problem = SimpleNamespace(tracks=np.arange(5), obs=None)
    view = SimpleNamespace(
        frame_count=FRAMES,
        trusted=np.zeros(5, bool),
        depth_is_log=False,
        problem=lambda *_, **__: problem,
        tracks=SimpleNamespace(frame_numbers=np.arange(FRAMES)),
    )
    state = SimpleNamespace(world=world, label=np.zeros(5, int), steadied_px=0.0)
    module.steady(view, state, np.ones(5, bool), Model())
    assert taken == ([] if kept else [True])
    assert (state.steadied_px > 0) != kept
