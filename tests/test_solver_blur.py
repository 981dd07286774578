"""Motion blur: two frames blurred alike, the shutter learnt, points followed where streaks change their length."""

import cv2
import numpy as np
import pytest

from solver.blur import SMEARED, StreakMatcher, Streaks, line_blur, path_blur, smeared
from solver.patches import refine, smooth
from tests.test_solver_tracking import texture


def test_a_line_blur_is_the_mean_of_the_moved_pictures():
    image = texture(3, 240, 160).astype(np.float32)
    if image.ndim == 3:
        image = image[..., 0]
    blurred = line_blur(image, np.array([8.0, 0.0]))
    x = np.arange(40, 200)
    steps = np.linspace(-4, 4, 401)
    light = np.mean([[np.interp(x + s, np.arange(240), row**2) for s in steps] for row in image[60:70]], axis=1)
    assert np.abs(blurred[60:70, 40:200] - np.sqrt(light)).max() < 0.02 * np.ptp(image)
    assert line_blur(image, np.array([0.1, 0.1])) is image


def test_a_motion_that_gathers_speed_leaves_more_of_itself_where_it_is_slow():
    """A bright line, exposed while it goes from standstill to 24 px per frame: its streak's middle lies behind half the way."""
    image = np.zeros((60, 200), np.float32)
    image[:, 100] = 100.0
    blurred = path_blur(image, np.array([24.0, 0.0]), np.array([48.0, 0.0]), 0.5)
    light = blurred[30].astype(float) ** 2
    mean = (light * np.arange(200)).sum() / light.sum()
    s = np.linspace(-0.25, 0.25, 10001)
    assert abs(mean - (100 + (24 * s + 24 * s**2).mean())) < 0.1
    assert abs((100 + (24 * s + 24 * s**2).max()) - np.nonzero(light > 1e-3)[0].max()) < 1.5
    assert (
        np.abs(path_blur(image, np.array([24.0, 0.0]), np.zeros(2), 0.5) - line_blur(image, np.array([12.0, 0.0]))).max() < 1e-3
    )


def source() -> np.ndarray:
    """A textured picture (300, 900) float32."""
    still = texture(5, 900, 300).astype(np.float32)
    return still[..., 0] if still.ndim == 3 else still


def new_matcher() -> StreakMatcher:
    """One that has learnt nothing yet."""
    return StreakMatcher(6, lambda image, templates, at, affine, grid: refine(image, templates, at, affine, grid, iterations=8))


def passing(grain: float, soft_px: float, share: float, step_px: float) -> tuple[np.ndarray, np.ndarray]:
    """(a calm picture, the next one, into which everything has moved to the left), both grainy and out of focus by soft_px."""
    rng = np.random.default_rng(2)
    still = source()
    still = cv2.GaussianBlur(still, (0, 0), soft_px) if soft_px else still
    after = line_blur(still, np.array([share * step_px, 0.0]))
    pair = still[:, 100:500], after[:, 100 + int(step_px) : 500 + int(step_px)]
    return tuple(smooth(p + rng.normal(0, grain, p.shape).astype(np.float32), 0.7) for p in pair)


@pytest.mark.parametrize(("grain", "soft_px"), [(0.0, 0.0), (15.0, 0.0), (2.0, 2.5)])
def test_a_whip_is_smeared_and_a_fast_pan_is_not(grain, soft_px):
    step = np.array([-36.0, 0.0])
    assert smeared(*passing(grain, soft_px, 0.5, 36.0), step) < SMEARED
    assert smeared(*passing(grain, soft_px, 0.0, 36.0), step) > SMEARED + 0.2


def test_one_picture_after_a_calm_one_proves_blur():
    calm, now = passing(15.0, 0.0, 0.5, 36.0)
    matcher = new_matcher()
    matcher.look(now, np.array([-36.0, 0.0]))
    assert not matcher.proven  # nothing to compare it with
    matcher.calm(calm)
    matcher.look(now, np.array([-36.0, 0.0]))
    assert matcher.proven


def test_noise_that_blur_would_hide_is_not_taken_for_blur():
    """A fast pan with a short shutter, in grainy pictures: any blur makes two frames more alike, and tells nothing."""
    still = source()
    rng = np.random.default_rng(1)
    matcher = new_matcher()
    for start in (100, 180, 260, 340):
        frames = [
            smooth(still[:, x : x + 320] + rng.normal(0, 6, (300, 320)).astype(np.float32), 0.7) for x in (start, start + 12)
        ]
        xy = np.c_[rng.uniform(90, 230, 60), rng.uniform(40, 260, 60)]
        moved = xy - [12.0, 0.0]
        matcher.learn(Streaks(*frames, xy, moved, np.tile([-9.5, 0.0], (60, 1)), np.array([-9.5, 0.0])))
    assert matcher.looks == 4
    assert matcher.share == 0.0


def first_look(still: np.ndarray, seed: int, shutter: float) -> StreakMatcher:
    """One that has seen the first two frames of a whip in a grainy picture."""
    rng = np.random.default_rng(seed)
    centres = np.array([300.0, 312.0, 334.0, 366.0])
    speeds = np.gradient(centres)

    def frame(k):
        image = line_blur(still, np.array([shutter * speeds[k], 0.0]))[:, int(centres[k]) - 160 : int(centres[k]) + 160]
        return smooth((image + rng.normal(0, 6, image.shape)).astype(np.float32), 0.7)

    xy = np.c_[rng.uniform(60, 260, 150), rng.uniform(20, 280, 150)]
    guess = xy - [centres[2] - centres[1], 0] + rng.normal(0, 0.7, xy.shape)
    step_before = np.array([centres[0] - centres[1], 0.0])
    matcher = new_matcher()
    matcher.learn(Streaks(frame(1), frame(2), xy, guess, np.tile(step_before, (150, 1)), step_before))
    return matcher


def test_one_look_proves_blur_more_often_than_not_and_never_in_sharp_pictures():
    """What comes later has lost the tracks if streaks were not reckoned with from the first."""
    still = source()
    assert sum(first_look(still, seed, 0.5).share == 0.5 for seed in range(10)) >= 6
    assert not any(first_look(still, seed, 0.0).proven for seed in range(10))


def test_points_are_followed_through_growing_streaks_and_the_shutter_is_learnt():
    still = source()
    centres = np.array([300.0, 312.0, 334.0, 366.0])  # where the middle of the picture lies in the source, frame by frame
    speeds = np.gradient(centres)

    def frame(k):
        image = line_blur(still, np.array([0.5 * speeds[k], 0.0]))
        return smooth(np.ascontiguousarray(image[:, int(centres[k]) - 160 : int(centres[k]) + 160]), 0.7)

    rng = np.random.default_rng(0)
    xy = np.c_[rng.uniform(90, 230, 60), rng.uniform(40, 260, 60)]
    moved = xy - [centres[2] - centres[1], 0]
    before_step = -(centres[1] - centres[0])
    guess = moved + rng.normal(0, 0.7, moved.shape)
    pair = Streaks(frame(1), frame(2), xy, guess, np.tile([before_step, 0.0], (60, 1)), np.array([before_step, 0.0]))
    matcher = new_matcher()
    assert matcher.share == 0.0
    matcher.learn(pair)
    assert matcher.share == 0.5
    found = matcher.match(pair)
    error = np.hypot(*(found.xy - moved).T)
    assert np.median(error) < 0.15
    assert np.percentile(error, 90) < 0.6
    assert (found.sigma_px > 0.02 * 0.5 * 20).all()  # a streak's points are known less well
