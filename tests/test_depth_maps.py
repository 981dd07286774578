"""Depth maps brought along: formats, units, numbering, and files that cannot be used."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from solver.depth import open_depth_source
from solver.errors import EXIT_INPUT, HoldfastError

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
import cv2

IMAGE = np.zeros((10, 20, 3), np.uint8)


def ramp() -> np.ndarray:
    return np.linspace(1.0, 4.0, 12, dtype=np.float32).reshape(3, 4)


def test_png_is_millimetres_and_zero_is_unknown(tmp_path):
    stored = (ramp() * 1000).astype(np.uint16)
    stored[0, 0] = 0
    cv2.imwrite(str(tmp_path / "000012.png"), stored)
    source = open_depth_source(None, str(tmp_path))
    assert (source.kind, source.provider) == ("metric", "files")
    result = source.predict(12, IMAGE)
    assert np.isnan(result.values[0, 0])
    np.testing.assert_allclose(result.values.ravel()[1:], ramp().ravel()[1:], atol=1e-3)
    assert source.predict(13, IMAGE) is None


def test_exr_npy_npz_are_depth_up_to_scale(tmp_path):
    far = ramp()
    far[2, 3] = 1e10  # what renderers write where a ray meets nothing
    cv2.imwrite(str(tmp_path / "shot.0001.exr"), far)
    np.save(tmp_path / "shot.0002.npy", ramp())
    np.savez(tmp_path / "shot.0003.npz", depth=ramp(), confidence=np.full((3, 4), 0.5))
    source = open_depth_source(None, str(tmp_path))
    assert source.kind == "depth" and source.frames == (1, 2, 3)
    assert np.isnan(source.predict(1, IMAGE).values[2, 3])
    for frame in (1, 2, 3):
        np.testing.assert_allclose(source.predict(frame, IMAGE).values.ravel()[:-1], ramp().ravel()[:-1])
    assert source.predict(3, IMAGE).confidence[0, 0] == 0.5


def test_sidecar_changes_kind_and_unit(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.full((3, 4), 500, np.uint16))
    (tmp_path / "depth.json").write_text(json.dumps({"kind": "metric", "unit_m": 0.01}))
    source = open_depth_source(None, str(tmp_path))
    np.testing.assert_allclose(source.predict(1, IMAGE).values, 5.0)
    (tmp_path / "depth.json").write_text(json.dumps({"kind": "inverse"}))
    with pytest.raises(HoldfastError, match="inverse"):
        open_depth_source(None, str(tmp_path))


@pytest.mark.parametrize("case", ["missing", "empty", "8 bit", "colour volume", "broken"])
def test_bad_maps_give_one_clear_line(case, tmp_path):
    folder = tmp_path / "maps"
    if case != "missing":
        folder.mkdir()
    if case == "8 bit":
        cv2.imwrite(str(folder / "1.png"), np.full((3, 4), 5, np.uint8))
    elif case == "colour volume":
        np.save(folder / "1.npy", np.zeros((3, 4, 5)))
    elif case == "broken":
        (folder / "1.exr").write_bytes(b"no picture")
    with pytest.raises(HoldfastError) as error:
        open_depth_source(None, str(folder)).predict(1, IMAGE)
    assert error.value.exit_code == EXIT_INPUT
    assert "\n" not in error.value.message and error.value.hint
