"""Depth maps are found again by content and network, and the cache keeps to its size."""

from __future__ import annotations

import json
import os

import numpy as np

from solver import depth
from solver.depth_cache import CachedSource, trim
from tests.depth_graphs import write_graph


def source(path, folder, **changes):
    path.with_name(path.name + ".json").write_text(
        json.dumps({"input": {"resize": "fixed", "size": [64, 48], **changes}, "outputs": {"depth": {"meaning": "depth"}}})
    )
    network = depth.open_depth_source(str(path), None, "cpu", 1)
    return CachedSource(network, folder)


def test_same_picture_and_network_are_found_others_are_not(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    cached = source(write_graph(tmp_path / "a.onnx", offset=1.0), tmp_path / "cache")
    first = cached.predict(3, image)
    calls = []
    through, cached.network.predict_many = cached.network.predict_many, lambda *a: calls.append(a) or through(*a)
    again = cached.predict(9, image)
    assert not calls and again.frame == 9 and again.kind == first.kind
    np.testing.assert_array_equal(again.values, first.values)
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    cached.predict(3, changed)
    assert len(calls) == 1
    # Another feeding or another file: nothing is reused.
    other = source(tmp_path / "a.onnx", tmp_path / "cache", range=2.0)
    assert not np.allclose(other.predict(3, image).values, first.values)
    other = source(write_graph(tmp_path / "b.onnx", offset=2.0), tmp_path / "cache")
    np.testing.assert_allclose(other.predict(3, image).values, first.values + 1, rtol=1e-5)


def test_broken_and_unwritable_cache_do_no_harm(tmp_path):
    image = np.full((48, 64, 3), 90, np.uint8)
    cached = source(write_graph(tmp_path / "a.onnx", offset=1.0), tmp_path / "cache")
    expected = cached.predict(0, image).values
    for spoil in (lambda content: b"junk", lambda content: content[: len(content) // 2], lambda content: b""):
        for path in (tmp_path / "cache").iterdir():
            path.write_bytes(spoil(path.read_bytes()))
        np.testing.assert_array_equal(cached.predict(0, image).values, expected)
    (tmp_path / "file").touch()
    cached.folder = tmp_path / "file"
    np.testing.assert_array_equal(cached.predict(0, image).values, expected)


def test_least_recently_used_go_first(tmp_path):
    for k in range(5):
        path = tmp_path / f"{k}.npz"
        path.write_bytes(bytes(1000))
        os.utime(path, (k, 10 - k))
    trim(tmp_path, 2500)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.npz", "1.npz"]


def test_only_slow_networks_are_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    path = write_graph(tmp_path / "a.onnx", offset=1.0)
    path.with_name("a.onnx.json").write_text(
        json.dumps({"input": {"resize": "fixed", "size": [64, 48]}, "outputs": {"depth": {"meaning": "depth"}}})
    )
    assert not isinstance(depth.open_depth_source(str(path), None, "cpu", 1), CachedSource)
    monkeypatch.setattr(depth, "SLOW_S", 0.0)
    assert isinstance(depth.open_depth_source(str(path), None, "cpu", 1), CachedSource)
    monkeypatch.setenv("HOLDFAST_CACHE", "off")
    assert not isinstance(depth.open_depth_source(str(path), None, "cpu", 1), CachedSource)
