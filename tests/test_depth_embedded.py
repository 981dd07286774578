"""The network that ships: small, quick, any aspect, better than not looking, and honest about where it is not sure.

`depth_pictures.npz` holds rendered pictures that were kept back from its training (models/training/sample_pictures.py).
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.metrics import frame_scores, log_error, tilted_plane
from solver.depth import open_depth_source
from solver.models_registry import find_network, load_registry


@pytest.fixture(scope="module")
def source():
    return open_depth_source(None, None, "cpu", 2)


def pictures():
    with np.load(Path(__file__).with_name("depth_pictures.npz")) as packed:
        for k in range(len(packed.files) // 2):
            stored = packed[f"log_{k}"]
            z = np.exp(-((stored.astype(np.float32) - 1) / 254 * 10 - 6))
            yield cv2.imdecode(packed[f"rgb_{k}"], cv2.IMREAD_COLOR), z, stored > 0


def test_it_ships_and_is_small():
    specs, default = load_registry()
    path = find_network(specs[default])
    assert path is not None and path.parent.name == "models"
    assert path.stat().st_size < 12e6
    assert specs[default].commercial_use


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 480), (720, 1280), (500, 500), (2048, 858), (101, 77)])
def test_any_aspect(source, width, height):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    result = source.predict(0, image)
    assert np.isfinite(result.values).all() and (result.values > 0).all()
    assert result.confidence.shape == result.values.shape
    assert result.confidence.min() >= 0 and result.confidence.max() <= 1


def test_black_and_white_frames_do_no_harm(source):
    for level in (0, 255):
        result = source.predict(0, np.full((480, 640, 3), level, np.uint8))
        assert np.isfinite(result.values).all() and np.isfinite(result.confidence).all()


def test_quick_enough(source):
    image = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        source.predict(0, image)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.12  # 60 ms is the aim on two free cores; test machines are rarely free


def test_better_than_not_looking_on_pictures_kept_back(source):
    rng = np.random.default_rng(0)
    scores = {"network": [], "plane": [], "constant": []}
    confident, doubtful = [], []
    for image, z, valid in pictures():
        result = source.predict(0, image)
        values, confidence = (
            cv2.resize(a, z.shape[::-1], interpolation=cv2.INTER_LINEAR) for a in (result.values, result.confidence)
        )
        for name, guess in (("network", values), ("plane", tilted_plane(z.shape)), ("constant", np.zeros(z.shape))):
            scores[name].append(frame_scores(guess, z, valid, None, rng))
        error, sure = log_error(values, z, valid)[valid], confidence[valid] > np.median(confidence[valid])
        confident.append(error[sure].mean())
        doubtful.append(error[~sure].mean())
    mean = {name: {k: np.nanmean([s[k] for s in each]) for k in each[0]} for name, each in scores.items()}
    assert mean["network"]["absrel"] < 0.75 * mean["plane"]["absrel"] < mean["constant"]["absrel"]
    assert mean["network"]["ordinal"] < 0.6 * mean["plane"]["ordinal"] < mean["constant"]["ordinal"]
    assert np.mean(confident) < 0.9 * np.mean(doubtful)


def test_several_pictures_at_once_come_out_as_one_at_a_time(source):
    rng = np.random.default_rng(5)
    pictures = [cv2.resize(rng.integers(0, 255, (9, 16, 3), dtype=np.uint8), (640, 360)) for _ in range(3)]
    together = source.predict_many([0, 1, 2], pictures)
    for picture, found in zip(pictures, together, strict=True):
        np.testing.assert_allclose(found.values, source.predict(0, picture).values, rtol=1e-4, atol=1e-5)
