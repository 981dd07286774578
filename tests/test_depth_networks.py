"""Every family of networks is fed and read as its authors say: checked on small graphs of the same interface.

The numbers below are written down from the networks' own documentation, not read from the registry they check.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from onnx import TensorProto

from solver.depth import open_depth_source, predict_all, sample_depth
from solver.depth_network import GPU_BATCH, PROVIDERS, candidate_providers
from solver.depth_points import focal_and_shift
from solver.errors import EXIT_MODEL, HoldfastError
from solver.models_registry import load_registry
from solver.types import DepthMap
from tests.depth_graphs import WEIGHTS, write_graph

IMAGENET = (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = (1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
UNIT = (1.0, (0, 0, 0), (1, 1, 1))
BYTES = (255.0, (0, 0, 0), (1, 1, 1))
# id: (graph, normalisation, input size for 1280x720, kind)
FAMILIES = {
    "holdfast-small": (
        {"output_name": "disparity", "extras": {"confidence": 0.7}},
        (1.0, (0.5,) * 3, (0.25,) * 3),
        (384, 224),
        "disparity",
    ),
    "tcmonodepth-small": ({"input_name": "input", "output_name": "output"}, BYTES, (384, 224), "disparity"),
    "fastdepth": ({}, UNIT, (224, 224), "depth"),
    "depth-anything-v2-small": (
        {"input_name": "pixel_values", "output_name": "predicted_depth"},
        IMAGENET,
        (924, 518),
        "disparity",
    ),
    "depth-anything-3-small": (
        {"input_name": "pixel_values", "output_name": "predicted_depth", "layout": "NFCHW", "extras": {"intrinsics": 252.0}},
        IMAGENET,
        (504, 280),
        "depth",
    ),
    "moge-2-vits": (
        {"output_name": "points", "points": True, "scalar_inputs": ("num_tokens",), "extras": {"mask": 1.0, "metric_scale": 2.0}},
        UNIT,
        (798, 448),
        "metric",
    ),
    "metric3d-v2-small": ({"input_name": "pixel_values", "output_name": "predicted_depth"}, BYTES, (1092, 616), "depth"),
    "midas-v2.1-small": ({"input_name": "0", "output_name": "797", "size": (256, 256)}, UNIT, (256, 256), "disparity"),
    "dpt-hybrid": ({"input_name": "pixel_values", "output_name": "predicted_depth"}, HALF, (384, 384), "disparity"),
    "zoedepth": ({"input_name": "pixel_values", "output_name": "predicted_depth"}, HALF, (512, 384), "metric"),
    "depth-pro": (
        {"input_name": "pixel_values", "output_name": "predicted_depth", "extras": {"focallength_px": 1536.0}},
        HALF,
        (1536, 1536),
        "metric",
    ),
}
COLOUR_BGR = np.array([40, 90, 200], np.uint8)  # no two channels alike


def picture(width: int = 1280, height: int = 720) -> np.ndarray:
    return np.broadcast_to(COLOUR_BGR, (height, width, 3)).copy()


def fed_sum(normalisation) -> float:
    """The graphs' answer for COLOUR_BGR fed as RGB with a normalisation."""
    scale, mean, std = normalisation
    rgb = COLOUR_BGR[::-1].astype(float) / 255
    return float(np.sum((rgb * scale - np.array(mean)) / np.array(std) * WEIGHTS))


@pytest.mark.parametrize("network", FAMILIES)
def test_family_is_fed_and_read_as_documented(network, tmp_path, monkeypatch):
    graph, normalisation, size, kind = FAMILIES[network]
    spec = load_registry()[0][network]
    # Points of a flat picture have no depth to find a shift from; the shift has its own test.
    if graph.get("points"):
        monkeypatch.setattr("solver.depth_process.focal_and_shift", lambda points, valid: (2.0, 0.0))
    offset = 400.0 if kind != "disparity" else 0.0  # depths must be positive
    path = tmp_path / spec.files[0].name
    path.parent.mkdir(exist_ok=True)
    write_graph(path, offset=offset, **graph)
    source = open_depth_source(str(path), None, "cpu", 1)
    assert (source.name, source.kind, source.provider) == (network, kind, "CPUExecutionProvider")
    result = source.predict(17, picture())
    assert (result.frame, result.kind, result.values.dtype) == (17, kind, np.float32)
    assert result.values.shape == size[::-1]
    expected = (fed_sum(normalisation) + offset) * (2.0 if network == "moge-2-vits" else 1.0)
    np.testing.assert_allclose(result.values, expected, rtol=2e-4)
    if network == "holdfast-small":
        np.testing.assert_allclose(result.confidence, 0.7, atol=1e-5)
    if network == "depth-anything-3-small":
        assert result.fov_x_deg == pytest.approx(90, abs=1e-3)
    if network == "depth-pro":
        assert result.fov_x_deg == pytest.approx(2 * np.degrees(np.arctan(0.5)), abs=1e-3)


def test_every_entry_of_the_registry_is_tested_or_like_one_that_is():
    specs, default = load_registry()
    assert default == "holdfast-small"
    untested = set(specs) - set(FAMILIES)
    for name in untested:
        assert any(specs[name].input == specs[other].input and specs[name].output == specs[other].output for other in FAMILIES), (
            name
        )
    for spec in specs.values():
        assert spec.licence and spec.source and spec.commercial_use in (True, False, None)


def describe(path, **changes):
    description = {"input": {"resize": "fixed", "size": [64, 48]}, "outputs": {"depth": {"meaning": "depth"}}}
    description["input"].update(changes.pop("input", {}))
    description["outputs"].update(changes.pop("outputs", {}))
    path.with_name(path.name + ".json").write_text(json.dumps(description))
    return str(path)


@pytest.mark.parametrize(
    ("meaning", "stored", "kind", "expected"),
    [
        ("disparity", 3.0, "disparity", 3.0),
        ("depth", 3.0, "depth", 3.0),
        ("metric", 3.0, "metric", 3.0),
        ("log_depth", 3.0, "depth", np.exp(3.0)),
        ("inverse_depth", 4.0, "depth", 0.25),
    ],
)
def test_meanings_of_the_output(meaning, stored, kind, expected, tmp_path):
    path = write_graph(tmp_path / "own.onnx", offset=stored)
    source = open_depth_source(describe(path, outputs={"depth": {"meaning": meaning}}), None, "cpu", 1)
    result = source.predict(0, np.zeros((48, 64, 3), np.uint8))
    assert result.kind == kind
    np.testing.assert_allclose(result.values, expected, rtol=1e-5)


def test_depth_that_is_not_positive_is_unknown_but_disparity_is_kept(tmp_path):
    path = write_graph(tmp_path / "own.onnx", offset=-1.0)
    dark, bright = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 255, np.uint8)
    source = open_depth_source(describe(path, input={"range": 0.1}), None, "cpu", 1)
    assert np.isnan(source.predict(0, dark).values).all()
    assert (source.predict(0, bright).values > 0).all()
    source = open_depth_source(describe(path, outputs={"depth": {"meaning": "disparity"}}), None, "cpu", 1)
    np.testing.assert_allclose(source.predict(0, dark).values, -1.0)


def test_channel_order_layout_and_half_floats(tmp_path):
    path = write_graph(tmp_path / "own.onnx", layout="NHWC", dtype=TensorProto.FLOAT16, offset=1.0)
    source = open_depth_source(describe(path, input={"layout": "NHWC", "channels": "BGR"}), None, "cpu", 1)
    expected = float(np.sum(COLOUR_BGR / 255 * WEIGHTS)) + 1
    np.testing.assert_allclose(source.predict(0, picture(64, 48)).values, expected, rtol=5e-3)


def test_padding_keeps_the_aspect_and_is_cut_off_again(tmp_path):
    path = write_graph(tmp_path / "own.onnx", offset=1.0)
    source = open_depth_source(
        describe(path, input={"size": [64, 64], "pad": True, "pad_value": [255, 255, 255]}), None, "cpu", 1
    )
    result = source.predict(0, np.zeros((90, 160, 3), np.uint8))
    assert result.values.shape == (36, 64)
    np.testing.assert_allclose(result.values, 1.0)


def test_values_stay_where_they_are_in_the_picture(tmp_path):
    path = write_graph(tmp_path / "own.onnx", offset=1.0)
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 320:] = 255
    source = open_depth_source(describe(path), None, "cpu", 1)
    result = source.predict(0, image)
    values, _ = sample_depth(result, np.array([[100.0, 100], [315, 400], [325, 400], [600, 20]]), 640, 480)
    np.testing.assert_allclose(values, [1, 1, 112, 112], rtol=1e-5)


def test_mask_makes_unknown(tmp_path):
    path = write_graph(tmp_path / "own.onnx", offset=1.0, extras={"mask": 0.2})
    with pytest.raises(HoldfastError) as error:  # the warm-up finds that nothing is ever known
        open_depth_source(describe(path, outputs={"mask": {"name": "mask"}}), None, "cpu", 1)
    assert error.value.exit_code == EXIT_MODEL


def test_focal_and_shift_of_a_point_map():
    rng = np.random.default_rng(3)
    h, w, focal, shift = 60, 80, 1.7, 2.5
    half = np.hypot(w, h) / 2
    u, v = np.meshgrid((np.arange(w) + 0.5 - w / 2) / half, (np.arange(h) + 0.5 - h / 2) / half)
    z = 3 + np.cumsum(rng.random((h, w)), axis=0) * 0.2
    points = np.stack([u * z / focal, v * z / focal, z - shift], -1) * 0.6
    found_focal, found_shift = focal_and_shift(points)
    assert found_focal == pytest.approx(focal, rel=1e-3)
    assert found_shift == pytest.approx(shift * 0.6, rel=1e-3)


def test_sampling_is_bilinear_with_centres_at_half():
    depth_map = DepthMap(
        0, "depth", np.array([[1.0, 3.0], [5.0, 7.0]], np.float32), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    )
    xy = np.array([[1.0, 1.0], [2.0, 1.0], [2.0, 2.0], [0.0, 0.0], [4.1, 0.0]])
    values, confidence = sample_depth(depth_map, xy, 4, 4)
    np.testing.assert_allclose(values, [1, 2, 4, 1, np.nan])
    np.testing.assert_allclose(confidence, [0, 0.5, 0.5, 0, np.nan])
    with_hole = DepthMap(0, "depth", np.array([[1.0, np.nan], [5.0, 7.0]], np.float32))
    values, _ = sample_depth(with_hole, np.array([[1.0, 2.0], [2.0, 1.0]]), 4, 4)
    np.testing.assert_allclose(values, [3.0, np.nan])


@pytest.mark.parametrize(
    ("available", "device", "driver", "expected"),
    [
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            "auto",
            True,
            ["CUDA", "Tensorrt", "CPU"],
        ),
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], "auto", False, ["CPU"]),
        (["DmlExecutionProvider", "CPUExecutionProvider"], "auto", False, ["Dml", "CPU"]),
        (["CoreMLExecutionProvider", "CPUExecutionProvider"], "auto", False, ["CoreML", "CPU"]),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "cpu", True, ["CPU"]),
    ],
)
def test_order_of_providers(available, device, driver, expected):
    assert [p.removesuffix("ExecutionProvider") for p in candidate_providers(available, device, driver)] == expected


def test_cuda_asked_for_and_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("solver.depth_network.nvidia_driver_present", lambda: False)
    path = write_graph(tmp_path / "own.onnx", offset=1.0)
    said = []

    class Progress:
        def warn(self, code, message):
            said.append((code, message))

    source = open_depth_source(describe(path), None, "cuda", 1, Progress())
    assert source.provider == "CPUExecutionProvider"
    assert said and said[0][0] == "depth.provider" and "CPU" in said[0][1]


def named(provider) -> str:
    """The name of a provider that may come with options."""
    return provider if isinstance(provider, str) else provider[0]


class FakeSession:
    """An inference session of any provider; runs on the CPU underneath. `behaviour` says what goes wrong with it."""

    def __init__(self, real, providers, behaviour):
        self.real, self.providers, self.behaviour = real, providers, behaviour
        self.get_inputs, self.get_outputs = real.get_inputs, real.get_outputs

    def get_providers(self):
        return ["CPUExecutionProvider"] if self.behaviour == "does not load" else [named(p) for p in self.providers]

    def run(self, names, feed):
        if self.behaviour == "fails in use":
            raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
        arrays = self.real.run(names, feed)
        return [np.full_like(a, np.nan) for a in arrays] if self.behaviour == "no numbers" else arrays


@pytest.mark.parametrize(
    ("behaviours", "used", "tried"),
    [
        ({}, "CUDA", 1),
        ({"CUDA": "does not load"}, "Tensorrt", 2),
        ({"CUDA": "fails in use", "Tensorrt": "raises"}, "Dml", 3),
        ({"CUDA": "no numbers", "Tensorrt": "no numbers", "Dml": "raises"}, "CoreML", 4),
        (dict.fromkeys(("CUDA", "Tensorrt", "Dml", "CoreML"), "fails in use"), "CPU", 5),
    ],
)
def test_providers_are_tried_in_order_with_a_real_run_and_falls_are_said(behaviours, used, tried, tmp_path, monkeypatch):
    import onnxruntime

    real, asked, said = onnxruntime.InferenceSession, [], []

    def session(path, options, providers):
        name = named(providers[0]).removesuffix("ExecutionProvider")
        asked.append(name)
        if behaviours.get(name) == "raises":
            raise RuntimeError("no such device")
        return FakeSession(real(path, options, providers=["CPUExecutionProvider"]), providers, behaviours.get(name))

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(reversed(PROVIDERS)))
    monkeypatch.setattr("solver.depth_network.nvidia_driver_present", lambda: True)
    progress = type("Progress", (), {"warn": lambda self, code, message: said.append(message)})()
    path = write_graph(tmp_path / "own.onnx", offset=1.0)
    source = open_depth_source(describe(path), None, "auto", 1, progress)
    assert source.provider == used + "ExecutionProvider" and len(asked) == tried
    assert asked == ["CUDA", "Tensorrt", "Dml", "CoreML", "CPU"][:tried]
    assert len(said) == (tried > 1) and all(name in said[0] for name in behaviours)


@pytest.mark.parametrize(
    ("seconds", "pictures", "used"), [(0.02, 10, "CPU"), (0.02, 2000, "CUDA"), (0.02, None, "CUDA"), (0.5, 10, "CUDA")]
)
def test_a_card_is_started_only_for_what_takes_longer_on_the_cpu(seconds, pictures, used, tmp_path, monkeypatch):
    import onnxruntime

    real, options_given = onnxruntime.InferenceSession, []

    def session(path, options, providers):
        options_given.extend(p for p in providers if not isinstance(p, str))
        return FakeSession(real(path, options, providers=["CPUExecutionProvider"]), providers, None)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr("solver.depth_network.nvidia_driver_present", lambda: True)
    monkeypatch.setattr("solver.depth_network.NetworkSource._warm_up", lambda self: setattr(self, "seconds", seconds))
    path = write_graph(tmp_path / "own.onnx", offset=1.0)
    source = open_depth_source(describe(path), None, "auto", 1, None, pictures)
    assert source.provider == used + "ExecutionProvider" and source.fallback is None
    assert all(given["use_tf32"] == "0" for _, given in options_given) and bool(options_given) == (used == "CUDA")
    assert open_depth_source(describe(path), None, "cuda", 1, None, pictures).provider == "CUDAExecutionProvider"


def test_batches_on_a_graphics_card_are_used_when_the_graph_keeps_pictures_apart(tmp_path, monkeypatch):
    path = write_graph(tmp_path / "own.onnx", offset=1.0, batch="N")
    source = open_depth_source(describe(path), None, "cpu", 1)
    assert source.batch_size == 1  # nothing to gain on a CPU
    source.provider = "CUDAExecutionProvider"
    assert source._largest_batch() == GPU_BATCH
    rng = np.random.default_rng(1)
    frames = [(k, rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)) for k in range(11)]
    alone = [source.predict(*frame).values for frame in frames]
    runs, through = [], source._session.run
    source.batch_size = GPU_BATCH
    monkeypatch.setattr(source, "_session", type("S", (), {"run": lambda self, n, f: runs.append(1) or through(n, f)})())
    together = list(predict_all(source, iter(frames)))
    assert len(runs) == 2 and [k for k, _ in together] == list(range(11))
    for expected, (k, result) in zip(alone, together, strict=True):
        assert result.frame == k
        np.testing.assert_allclose(result.values, expected, rtol=1e-5)
    # A graph with a fixed batch of one gets one at a time.
    fixed = open_depth_source(describe(write_graph(tmp_path / "one.onnx", offset=1.0)), None, "cpu", 1)
    fixed.provider = "CUDAExecutionProvider"
    assert fixed._largest_batch() == 1


@pytest.mark.parametrize(
    "case",
    [
        "unknown id",
        "no file",
        "folder",
        "html",
        "empty",
        "truncated",
        "undescribed",
        "wrong output",
        "wrong channels",
        "bad json",
        "bad meaning",
        "not downloaded",
    ],
)
def test_bad_networks_give_one_clear_line(case, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_MODELS", str(tmp_path / "store"))
    path = tmp_path / "net.onnx"
    model, code = str(path), "model.not_onnx"
    if case == "unknown id":
        model, code = "midas-v9", "model.unknown"
    elif case == "no file":
        code = "model.missing"
    elif case == "folder":
        path.mkdir()
        code = "model.missing"
    elif case == "html":
        path.write_text("<html>" + "log in first " * 100 + "</html>")
        describe(path)
    elif case == "empty":
        path.touch()
        describe(path)
    elif case == "truncated":
        whole = write_graph(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        describe(path)
    elif case == "undescribed":
        write_graph(path)
        code = "model.undescribed"
    elif case == "wrong output":
        describe(write_graph(path), outputs={"depth": {"meaning": "depth", "name": "disparity"}})
        code = "model.wrong_interface"
    elif case == "wrong channels":
        describe(write_graph(path, layout="NHWC"))
        code = "model.wrong_interface"
    elif case == "bad json":
        write_graph(path)
        path.with_name("net.onnx.json").write_text("{")
        code = "model.bad_description"
    elif case == "bad meaning":
        describe(write_graph(path), outputs={"depth": {"meaning": "normals"}})
        code = "model.bad_description"
    elif case == "not downloaded":
        model, code = "depth-anything-v2-small", "model.missing"
    with pytest.raises(HoldfastError) as error:
        open_depth_source(model, None, "cpu", 1)
    assert error.value.code == code
    assert error.value.exit_code == EXIT_MODEL
    assert "\n" not in error.value.message and error.value.hint
    if case == "not downloaded":
        assert "models get depth-anything-v2-small" in error.value.hint


def test_none_means_no_depth():
    assert open_depth_source("none") is None


def test_field_of_view_of_a_network_becomes_the_focal_prior():
    """A camera that does not move tells nothing of its lens: what the network says stands."""
    from solver.events import Reporter
    from solver.pipeline import solve
    from solver.types import ClipInfo, Settings

    rng = np.random.default_rng(0)
    still = cv2.resize(rng.integers(0, 255, (45, 80, 3), dtype=np.uint8), (640, 360), interpolation=cv2.INTER_CUBIC)

    class Clip:
        info = ClipInfo("still", 640, 360, 24.0, 0, tuple(range(10)), frame_count=10)

        def images(self):
            for k in range(10):
                yield k, self.read(k)

        def read(self, frame):
            noise = np.random.default_rng(frame).normal(0, 2, still.shape)
            return np.clip(still + noise, 0, 255).astype(np.uint8)

    class Network:
        name, provider, kind = "wide", "CPUExecutionProvider", "depth"

        def predict(self, frame, image):
            return DepthMap(frame, "depth", np.linspace(2, 5, 48 * 64, dtype=np.float32).reshape(48, 64), None, 90.0)

    solution = solve(Clip(), Settings(quality="draft", threads=1), Network(), None, Reporter())
    assert solution.focal_px[0] == pytest.approx(320, rel=1e-3) and solution.verdict.focal == "prior"
