"""Treated shots: the truth goes along with the picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bench import layers, metrics, run, worn
from tests.bench.shots import Shot

SAMPLE = Path(__file__).resolve().parent / "data" / "sample" / "sample.mp4"
TRUTH = json.loads(SAMPLE.with_name("sample.gt.json").read_text(encoding="utf-8"))
COUNT = len(TRUTH["frames"])

# where a point of the picture (x, y) comes to lie, and which frame of the shot a treated one shows
WHERE = {
    "noise": (lambda x, y: (x, y), lambda k: k),
    "dark": (lambda x, y: (x, y), lambda k: k),
    "small": (lambda x, y: (x / 2, y / 2), lambda k: k),
    "half": (lambda x, y: (x, y), lambda k: k + COUNT // 2),
    "back": (lambda x, y: (x, y), lambda k: COUNT - 1 - k),
    **dict.fromkeys(("flicker", "focus", "soft", "black", "slate"), (lambda x, y: (x, y), lambda k: k)),
    "upright": (lambda x, y: (TRUTH["height"] - y, x), lambda k: k),
}


def seen(truth: dict, frame: int) -> np.ndarray:
    """(N, 2) px of the truth's points in one of its frames."""
    f = truth["frames"][frame]
    assert f["frame"] == frame
    q = (np.array(truth["grid"]["xyz"]) - np.array(f["c2w"])[:3, 3]) @ np.array(f["c2w"])[:3, :3]
    return q[:, :2] / q[:, 2:] * [f["fx"], f["fy"]] + [f["cx"], f["cy"]]


@pytest.mark.parametrize("how", worn.TREATMENTS)
def test_points_lie_where_the_treated_picture_shows_them(how):
    truth = worn.TREATMENTS[how].truth(TRUTH)
    where, which = WHERE[how]
    for frame in (0, len(truth["frames"]) - 1):
        expected = np.stack(where(*seen(TRUTH, which(frame)).T), 1)
        assert np.allclose(seen(truth, frame), expected, atol=0.01)
    assert np.linalg.det(np.array(truth["frames"][0]["c2w"])[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize("how", worn.TREATMENTS)
def test_pictures_are_treated_as_their_points(how):
    """A white dot in one frame."""
    height, width, frame, at = 80, 120, 30, (90, 24)
    frames = np.full((COUNT, height, width, 3), 60, np.uint8)
    cv2.circle(frames[frame], at, 5, (255, 255, 255), -1)
    pictures = worn.TREATMENTS[how].pictures(frames, np.random.default_rng(0))
    where, which = WHERE[how]
    treated_frame = next(k for k in range(len(pictures)) if which(k) == frame)
    grey = cv2.GaussianBlur(pictures[treated_frame][..., 0], (0, 0), 2)
    y, x = np.unravel_index(np.argmax(grey), grey.shape)
    expected = (height - at[1], at[0]) if how == "upright" else where(*at)
    assert np.allclose((x, y), expected, atol=2)
    assert pictures.dtype == np.uint8


def test_noise_and_darkness_are_what_they_are_called():
    frames = np.full((20, 90, 160, 3), 128, np.uint8)
    rng = np.random.default_rng(1)
    noisy = worn.TREATMENTS["noise"].pictures(frames, rng)
    assert noisy[0].std() == pytest.approx(7.0, abs=0.5)
    dark = worn.TREATMENTS["dark"].pictures(frames, rng).mean((1, 2, 3))
    assert dark.max() < 0.75 * 128 and dark.min() > 10 and dark.max() > 2.5 * dark.min()


def test_a_shot_of_rows_is_not_turned(tmp_path):
    truth = tmp_path / "rows.gt.json"
    truth.write_text(json.dumps(TRUTH | {"rolling": 0.5}))
    with pytest.raises(ValueError, match="row by row"):
        worn.treated(Shot("rows", SAMPLE, truth), "upright")


def sharpness(picture: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.GaussianBlur(picture[..., 1].astype(np.float32), (0, 0), 0.7), cv2.CV_32F).std())


@pytest.mark.parametrize(
    ("how", "set_softer", "people_softer"),
    [
        ("shallow", (True, True), (False, False)),
        ("wide_open", (True, True), (False, False)),
        ("pull_in", (True, False), (False, True)),
        ("pull_out", (False, True), (True, False)),
    ],
)
def test_the_focus_lies_on_people_or_on_the_set(how, set_softer, people_softer):
    """In the first and the last frame; the left half moves."""
    rng = np.random.default_rng(4)
    frames = np.repeat(rng.integers(0, 255, (1, 120, 640, 3), dtype=np.uint8), 12, 0)
    frames = np.stack([cv2.GaussianBlur(f, (0, 0), 1.0) for f in frames])
    movers = np.zeros(frames.shape[:3], bool)
    movers[:, :, :320] = True
    found = layers.focused(frames, movers, how, rng)
    for k, frame in enumerate((0, 11)):
        for area, softer in ((slice(340, None), set_softer), (slice(None, 300), people_softer)):
            share = sharpness(found[frame][:, area]) / sharpness(frames[frame][:, area])
            assert share < 0.6 if softer[k] else share > 0.8


def test_the_focus_on_people_needs_their_masks(tmp_path, monkeypatch):
    monkeypatch.setattr(worn, "FOLDER", tmp_path / "worn")
    with pytest.raises(ValueError, match="no masks"):
        worn.treated(Shot("bare", tmp_path / "bare.mp4", None), "shallow")
    assert not (tmp_path / "worn").exists()


def test_a_treatment_that_there_is_not_gets_one_line(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        run.worn_shots([Shot("sample", SAMPLE, None)], "rusty")
    assert "noise" in str(end.value) and "rusty" in str(end.value)


def test_the_truth_can_be_loaded(tmp_path):
    for how, treatment in worn.TREATMENTS.items():
        path = tmp_path / f"{how}.gt.json"
        path.write_text(json.dumps(treatment.truth(TRUTH)))
        truth = metrics.load_truth(path)
        assert len(truth.c2w) == (COUNT - COUNT // 2 if how == "half" else COUNT) and truth.scene_depth > 0
