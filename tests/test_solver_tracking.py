"""Tracks: sub-pixel against known motion, spread over the frame, kept out of masks, re-found, bridged."""

import cv2
import numpy as np
import pytest

from solver.patches import PatchGrid, bilinear, make_templates, refine, smooth
from solver.tracked import TrackingOptions
from solver.tracking import track_clip
from solver.view import sample_map

WIDTH, HEIGHT = 480, 270


def texture(seed: int = 0, width: int = 900, height: int = 600) -> np.ndarray:
    """Blotches of many sizes, (height, width) float32 in 0..255."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width), np.float32)
    for sigma, weight in ((2, 1.0), (5, 1.0), (14, 1.2), (40, 0.6)):
        layer = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), sigma)
        image += weight * layer / layer.std()
    return np.clip(128 + 34 * image, 0, 255)


def warped(source: np.ndarray, matrix: np.ndarray, noise: float, rng) -> np.ndarray:
    """(H, W, 3) uint8: output pixel (COLMAP convention) x shows source position matrix @ x."""
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    inner = np.linalg.inv(shift) @ matrix @ shift
    image = cv2.warpPerspective(source, inner, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    image = np.clip(image + noise * rng.normal(size=image.shape), 0, 255).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)


def drift_of(tracks, matrices) -> np.ndarray:
    """RMS error (px) of each long track against where its first position goes."""
    out = []
    for t in range(tracks.track_count):
        rows = np.nonzero(tracks.track == t)[0]
        if len(rows) < 10:
            continue
        start = matrices[tracks.frame_index[rows[0]]] @ np.r_[tracks.xy[rows[0]], 1]
        error = []
        for r in rows[1:]:
            q = np.linalg.inv(matrices[tracks.frame_index[r]]) @ start
            error.append(np.hypot(*(q[:2] / q[2] - tracks.xy[r])))
        out.append(np.sqrt(np.mean(np.square(error))))
    return np.array(out)


def test_refinement_finds_a_known_affine_warp():
    source = texture(3)
    grid = PatchGrid(8)
    rng = np.random.default_rng(0)
    xy = rng.uniform(60, 200, (40, 2)) + [60, 0]
    truth = np.array([[1.03, 0.02, 3.3], [-0.01, 0.98, -1.7]])
    moved = cv2.warpAffine(source, truth, (900, 600), flags=cv2.INTER_CUBIC)
    templates = make_templates(smooth(source, 0.7), xy, grid)
    expected = xy @ truth[:, :2].T + truth[:, 2]
    found = refine(
        smooth(moved, 0.7), templates, expected + rng.uniform(-0.8, 0.8, xy.shape), np.tile(np.eye(2), (40, 1, 1)), grid,
        iterations=12, noise_levels=1.0, affine_slack=5.0,
    )  # fmt: skip
    assert np.median(np.hypot(*(found.xy - expected).T)) < 0.04  # the warp that made the picture rounds to 1/32 px itself
    assert np.median(np.abs(found.affine - truth[:, :2])) < 0.01
    assert (found.ncc > 0.95).mean() > 0.9


def test_bilinear_is_exact_on_a_plane():
    yy, xx = np.mgrid[0:20, 0:30].astype(np.float32)
    x, y = np.array([3.3, 10.77], np.float32), np.array([4.1, 15.5], np.float32)
    np.testing.assert_allclose(bilinear(2 * xx - 3 * yy, x, y), 2 * x - 3 * y, atol=1e-4)


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_tracks_stay_on_their_spot(noise):
    source = texture()
    rng = np.random.default_rng(1)
    matrices = []
    for i in range(24):
        a = 0.002 * i
        scale = 1 + 0.002 * i
        matrices.append(
            np.array([[scale * np.cos(a), -np.sin(a), 150 + 2.3 * i], [np.sin(a), scale * np.cos(a), 120 + 1.1 * i], [0, 0, 1.0]])
        )
    images = [(100 + i, warped(source, m, noise, rng)) for i, m in enumerate(matrices)]
    found = track_clip(iter(images), None, TrackingOptions(tracks_wanted=250, patch_radius_px=6))
    tracks = found.tracks
    assert list(tracks.frame_numbers) == list(range(100, 124))
    error = drift_of(tracks, matrices)
    assert len(error) > 150
    assert np.median(error) < (0.06 if noise == 0 else 0.12)
    assert (error > 0.5).mean() < 0.05
    # spread over the whole frame, in every frame
    for f in (0, 12, 23):
        xy = tracks.xy[tracks.frame_index == f]
        cells = {(int(x / WIDTH * 6), int(y / HEIGHT * 4)) for x, y in xy}
        assert len(cells) >= 22


def test_masked_regions_hold_no_tracks_and_occluded_tracks_come_back():
    source = texture(5)
    rng = np.random.default_rng(2)
    matrices = [np.array([[1, 0, 150 + 0.6 * i], [0, 1, 120], [0, 0, 1.0]]) for i in range(30)]
    images = []
    for i, m in enumerate(matrices):
        image = warped(source, m, 2.0, rng)
        if 10 <= i < 16:
            image[60:200, 150:300] = rng.integers(0, 255, 3, dtype=np.uint8)  # something flat passes in front
        images.append((i, image))
    ignore = np.zeros((HEIGHT, WIDTH), bool)
    ignore[:, :100] = True
    found = track_clip(iter(images), None, TrackingOptions(tracks_wanted=300, patch_radius_px=6), ignore=lambda frame: ignore)
    tracks = found.tracks
    assert (tracks.xy[:, 0] > 99).all()
    gaps = 0
    for t in range(tracks.track_count):
        f = tracks.frame_index[tracks.track == t]
        gaps += bool((np.diff(f) > 4).any())
    assert gaps >= 10
    assert np.percentile(drift_of(tracks, matrices), 90) < 0.3


def test_a_jolt_is_bridged():
    source = texture(7)
    rng = np.random.default_rng(3)
    offsets = [0, 2, 4, 130, 132, 134, 136, 138]
    matrices = [np.array([[1, 0, 100 + o], [0, 1, 100 - 0.5 * o], [0, 0, 1.0]]) for o in offsets]
    images = [(i, warped(source, m, 2.0, rng)) for i, m in enumerate(matrices)]
    found = track_clip(iter(images), None, TrackingOptions(tracks_wanted=250, patch_radius_px=6))
    assert found.bridged_by_descriptors == (3,)
    assert found.bridging[3] > 60


@pytest.mark.parametrize("quality", ["draft", "standard"])
def test_places_are_those_of_the_clip_at_whatever_size_it_is_looked_at(quality):
    """Dots at known places: a picture made smaller for a draft must not shift or scale its tracks."""
    width, height = 1280, 720
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(np.arange(60, width - 60, 80), np.arange(60, height - 60, 80)), -1).reshape(-1, 2)
    centres = grid + rng.uniform(-15, 15, grid.shape)
    y, x = np.mgrid[:height, :width] + 0.5
    picture = np.full((height, width), 90.0)
    for cx, cy in centres:
        x0, y0 = int(cx) - 20, int(cy) - 20
        near = np.s_[y0 : y0 + 40, x0 : x0 + 40]
        picture[near] += 120 * np.exp(-((x[near] - cx) ** 2 + (y[near] - cy) ** 2) / (2 * 3.0**2))
    frames = [np.repeat(np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)[..., None], 3, 2)] * 6
    found = track_clip(enumerate(frames), np.arange(6), TrackingOptions.for_quality(quality, width, height)).tracks
    offset = found.xy[:, None] - centres[None]
    nearest = np.argmin(np.hypot(*offset.transpose(2, 0, 1)), axis=1)
    offset = offset[np.arange(len(nearest)), nearest]
    on_dots = np.hypot(*offset.T) < 2.0
    assert on_dots.sum() > 5 * 0.8 * len(centres)
    assert np.abs(offset[on_dots].mean(axis=0)).max() < 0.12
    outer = on_dots & (found.xy[:, 0] > 0.75 * width)
    assert abs(offset[outer, 0].mean()) < 0.2


def test_a_keyframe_without_a_track_has_no_depths_to_sample():
    assert sample_map(np.ones((4, 6)), np.zeros((0, 2)), 60, 40).shape == (0,)
