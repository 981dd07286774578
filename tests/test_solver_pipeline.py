"""Whole solves on pictures made here: tripod, lock-off with a mover, a clip with nothing to see, the same bytes twice."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from solver.bundle_model import rotation_exp
from solver.errors import EXIT_INPUT, EXIT_UNSOLVED, HoldfastError
from solver.pipeline import solve
from solver.types import LABEL_MOVER, ClipInfo, Settings
from solver.verdict import _of_depth
from tests.test_solver_tracking import HEIGHT, WIDTH, texture, warped

FOCAL = 520.0


class Clip:
    """Pictures in memory as a clip."""

    def __init__(self, images, first: int = 0) -> None:
        frames = tuple(range(first, first + len(images)))
        self.pictures = dict(zip(frames, images, strict=True))
        self.info = ClipInfo("memory", WIDTH, HEIGHT, 24.0, first, frames)

    def images(self):
        """All frames in order."""
        yield from self.pictures.items()

    def read(self, frame: int) -> np.ndarray:
        """One frame."""
        return self.pictures[frame]


class Quiet(SimpleNamespace):
    """Progress that only remembers the stages."""

    def __init__(self) -> None:
        super().__init__(stages=[])

    def __call__(self, stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        if not self.stages or self.stages[-1] != stage:
            self.stages.append(stage)

    def warn(self, code: str, message: str) -> None:
        """Warnings are not expected here."""
        raise AssertionError(f"{code}: {message}")


def pan(frames: int = 30):
    """A camera that only turns, over a far painting: pictures and true rotations (cam_from_world)."""
    source = texture(11, 1100, 700)
    rng = np.random.default_rng(4)
    k = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    painting = np.array([[FOCAL, 0, 550], [0, FOCAL, 350], [0, 0, 1]])
    s = np.linspace(-1, 1, frames)
    rotations = rotation_exp(np.c_[0.04 * np.sin(2 * s), 0.22 * s, 0.015 * np.cos(3 * s)])
    images = [warped(source, painting @ r.T @ np.linalg.inv(k), 2.0, rng) for r in rotations]
    return images, rotations


@pytest.fixture(scope="module")
def tripod():
    images, rotations = pan()
    return solve(Clip(images, 1001), Settings(threads=1), None, None, Quiet()), rotations


def test_a_tripod_pan_is_solved_as_a_rotation(tripod):
    found, rotations = tripod
    assert found.verdict.motion == "rotation"
    assert list(found.frame_numbers) == list(range(1001, 1031))
    assert found.focal_px == pytest.approx(FOCAL, rel=0.01)
    assert found.verdict.focal == "measured"
    assert found.verdict.focal_range_px[0] * 0.99 < FOCAL < found.verdict.focal_range_px[1] * 1.01
    centres = -np.einsum("fji,fj->fi", found.cam_from_world[:, :3, :3], found.cam_from_world[:, :3, 3])
    assert np.abs(centres).max() < 1e-9
    for f in (10, 29):
        error = found.cam_from_world[f, :3, :3] @ (rotations[f] @ rotations[0].T).T
        assert np.degrees(np.arccos(np.clip((np.trace(error) - 1) / 2, -1, 1))) < 0.15
    assert found.verdict.error_px < 0.3
    assert found.points.shape[0] > 200


def test_the_same_clip_gives_the_same_solution(tripod):
    found, _ = tripod
    again = solve(Clip(pan()[0], 1001), Settings(threads=1), None, None, Quiet())
    np.testing.assert_array_equal(found.cam_from_world, again.cam_from_world)
    np.testing.assert_array_equal(found.points, again.points)
    np.testing.assert_array_equal(found.tracks.xy, again.tracks.xy)


def test_dark_footage_is_not_called_good(tripod):
    """What a twelfth of the light leaves to hold on to is a few grey levels: the error on held-out tracks says too little."""
    found, _ = tripod
    assert found.verdict.status == "good"
    assert not any("faint" in line for line in found.verdict.statements)
    dark = [np.rint(picture / 12).astype(np.uint8) for picture in pan()[0]]
    found = solve(Clip(dark), Settings(threads=1), None, None, Quiet())
    assert found.verdict.status != "good"
    assert any("faint" in line for line in found.verdict.statements)
    assert 0 < found.quality["contrast_levels"] < 7.0


def test_a_picture_of_which_most_moves_is_not_called_good(tripod, monkeypatch):
    found, _ = tripod
    assert not any("More moves" in line for line in found.verdict.statements)
    monkeypatch.setattr("solver.verdict.MOSTLY_MOVING", -1.0)
    found = solve(Clip(pan()[0]), Settings(threads=1), None, None, Quiet())
    assert found.verdict.status == "usable"
    assert any("More moves" in line for line in found.verdict.statements)


def test_a_lock_off_stands_still_while_something_passes(monkeypatch):
    monkeypatch.setattr("solver.verdict.MOSTLY_MOVING", -1.0)  # however much passes, no camera follows it
    source = texture(12, 700, 500)
    passer = texture(13, 160, 120)
    rng = np.random.default_rng(5)
    images = []
    for i in range(24):
        picture = source.copy()
        x = 120 + 9 * i
        picture[220:340, x : x + 160] = passer
        images.append(warped(picture, np.array([[1, 0, 90.0], [0, 1, 90], [0, 0, 1]]), 2.0, rng))
    found = solve(Clip(images), Settings(threads=1), None, None, Quiet())
    assert found.verdict.motion == "static"
    assert found.verdict.status == "good" and not any("More moves" in line for line in found.verdict.statements)
    np.testing.assert_allclose(found.cam_from_world, np.tile(np.eye(4), (24, 1, 1)), atol=1e-12)
    assert found.verdict.focal == "prior"
    movers = np.nonzero(found.track_label == LABEL_MOVER)[0]
    assert len(movers) > 10
    moved = [np.ptp(found.tracks.xy[found.tracks.track == t, 0]) for t in movers]
    assert np.median(moved) > 10


@pytest.mark.parametrize("kind", ["black", "snow"])
def test_nothing_to_follow_is_said_in_one_line(kind):
    rng = np.random.default_rng(6)
    images = [
        np.zeros((HEIGHT, WIDTH, 3), np.uint8) if kind == "black" else rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for _ in range(8)
    ]
    with pytest.raises(HoldfastError) as caught:
        solve(Clip(images), Settings(threads=1), None, None, Quiet())
    assert caught.value.exit_code == EXIT_UNSOLVED
    assert "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("width, height", [(1, 1), (640, 2), (15, 200)])
def test_a_placeholder_is_refused_by_its_size(width, height):
    clip = Clip([np.zeros((height, width, 3), np.uint8)] * 5)
    clip.info = replace(clip.info, width=width, height=height)
    with pytest.raises(HoldfastError, match=f"{width}x{height} px") as raised:
        solve(clip, Settings(threads=1), None, None, Quiet())
    assert raised.value.code == "clip.too_small" and raised.value.exit_code == EXIT_INPUT


def test_a_given_focal_length_is_kept():
    images, _ = pan(12)
    found = solve(Clip(images), Settings(threads=1, focal_px=FOCAL, focal_mode="known"), None, None, Quiet())
    np.testing.assert_allclose(found.focal_px, FOCAL, rtol=1e-12)
    assert found.verdict.focal == "given"


def test_a_zoom_on_a_tripod_is_not_taken_for_a_dolly():
    source = texture(13, 1300, 900)
    rng = np.random.default_rng(6)
    s = np.linspace(-1, 1, 28)
    focal = 430.0 + 130.0 * (0.5 + 0.5 * s)
    rotations = rotation_exp(np.c_[0.02 * s, 0.06 * s, 0 * s])
    painting = np.array([[FOCAL, 0, 650], [0, FOCAL, 450], [0, 0, 1]])
    lens = [np.array([[f, 0, WIDTH / 2], [0, f, HEIGHT / 2], [0, 0, 1]]) for f in focal]
    images = [warped(source, painting @ r.T @ np.linalg.inv(k), 2.0, rng) for r, k in zip(rotations, lens, strict=True)]
    found = solve(Clip(images), Settings(threads=1), None, None, Quiet())
    assert found.verdict.motion == "rotation"
    assert np.ptp(found.focal_px) > 100  # the lens, not the camera, goes nearer
    np.testing.assert_allclose(found.focal_px / found.focal_px[0], focal / focal[0], rtol=3e-3)


@pytest.mark.parametrize(
    ("spread", "word", "parallax_px", "doubt"),
    [(0.1, "weak", 30.0, False), (0.8, "weak", 30.0, True), (0.8, "given", 300.0, True), (0.8, "measured", 300.0, False)],
)
def test_a_path_that_the_networks_depth_contradicts_is_doubted(spread, word, parallax_px, doubt):
    """Unless the path is so long that it has told the lens: then it is the network that errs."""
    winner = SimpleNamespace(model=SimpleNamespace(translation=True))
    evidence = SimpleNamespace(
        depth_name="a network", depth_spread=spread, parallax_px=parallax_px, lens=SimpleNamespace(word=word)
    )
    _, doubted, lines = _of_depth(winner, evidence, noise_px=0.1)
    assert doubted == doubt
    assert ("do not trust surfaces" in lines[0]) == (spread > 0.25)
    assert ("Look at a prop" in lines[0]) == doubt
