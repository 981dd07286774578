"""Stills filmed by a phone: the picture shows each point where the cameras see it, each row at its own time."""

import numpy as np
import pytest

from tests.bench import phone

PICTURE = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.mark.parametrize("how", phone.MOVES)
def test_each_row_is_seen_by_the_camera_of_its_time(how):
    still = phone.Still(PICTURE, phone.MOVES[how], 1)
    looked = still.seen(20.0)
    for row in (0, still.height // 2, still.height - 1):
        time = (20 + phone.ROW_TIME * ((row + 0.5) / still.height - 0.5)) / (phone.FRAMES - 1)
        pose = still.camera(time)
        x = np.arange(5, still.width, 20)
        q = (still.points(looked[row, x]) - pose[:3, 3]) @ pose[:3, :3]
        seen = still.focal_px * q[:, :2] / q[:, 2:] + [still.width / 2, still.height / 2]
        np.testing.assert_allclose(seen, np.stack([x + 0.5, np.full(len(x), row + 0.5)], 1), atol=0.002)


def test_true_points_lie_where_the_truth_says_and_a_phone_that_turns_stays_in_one_spot():
    still = phone.Still(PICTURE, phone.MOVES["phone_turn"], 3)
    truth = still.truth()
    f = truth["frames"][truth["grid"]["frame"]]
    pose = np.array(f["c2w"])
    q = (np.array(truth["grid"]["xyz"]) - pose[:3, 3]) @ pose[:3, :3]
    np.testing.assert_allclose(q[:, :2] / q[:, 2:] * f["fx"] + [f["cx"], f["cy"]], truth["grid"]["uv"], atol=1e-6)
    assert len(truth["grid"]["uv"]) > 50
    assert not np.array([frame["c2w"] for frame in truth["frames"]])[:, :3, 3].any()


def test_the_film_moves_and_is_the_same_each_time(monkeypatch):
    monkeypatch.setattr(phone, "FRAMES", 3)
    still = phone.Still(PICTURE, phone.MOVES["phone_pan"], 2)
    one, other = (still.film(np.random.default_rng(5)) for _ in range(2))
    assert one.shape == (3, still.height, still.width, 3)
    np.testing.assert_array_equal(one, other)
    assert np.abs(one[0].astype(int) - one[2]).mean() > 3
