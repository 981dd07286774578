"""From an image to a network's input and from its outputs to a DepthMap, as the network's description says.

Pure functions of arrays; nothing here knows ONNX Runtime.
"""

from __future__ import annotations

import cv2
import numpy as np

from .depth_points import focal_and_shift
from .models_registry import InputSpec, OutputSpec


def input_size(spec: InputSpec, width: int, height: int) -> tuple[int, int]:
    """(w, h) in px the network gets for an image of width x height px."""
    if spec.resize == "fixed":
        return spec.size
    scale = {
        "short_side": lambda: spec.short_side / min(width, height),
        "long_side": lambda: spec.long_side / max(width, height),
        "area": lambda: (spec.area / (width * height)) ** 0.5,
    }[spec.resize]()

    def round_to_multiple(length: float) -> int:
        return max(round(length * scale / spec.multiple), 1) * spec.multiple

    # A panorama 10 times as wide as high would ask for a huge input: the long side is held to 4 times the short one.
    w, h = round_to_multiple(width), round_to_multiple(height)
    limit = 4 * min(w, h)
    return min(w, limit), min(h, limit)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Area averaging downwards (no aliasing), linear upwards; pixel areas stay where they are."""
    shrinking = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def preprocess(image: np.ndarray, spec: InputSpec) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """(H, W, 3) uint8 BGR -> (the network's float32 input, (x, y, w, h): where in it the image lies, px)."""
    height, width = image.shape[:2]
    size_w, size_h = input_size(spec, width, height)
    if spec.pad:
        scale = min(size_w / width, size_h / height)
        w, h = max(round(width * scale), 1), max(round(height * scale), 1)
        x, y = (size_w - w) // 2, (size_h - h) // 2
        canvas = np.empty((size_h, size_w, 3), np.float32)
        canvas[:] = spec.pad_value[::-1]
        canvas[y : y + h, x : x + w] = _resize(image, (w, h))
    else:
        x, y, w, h = 0, 0, size_w, size_h
        canvas = _resize(image, (w, h)).astype(np.float32)
    if spec.channels == "RGB":
        canvas = canvas[..., ::-1]
    tensor = (canvas * (spec.range / 255.0) - np.float32(spec.mean)) / np.float32(spec.std)
    if spec.layout != "NHWC":
        tensor = tensor.transpose(2, 0, 1)
    tensor = tensor[None, None] if spec.layout == "NFCHW" else tensor[None]
    return np.ascontiguousarray(tensor, dtype=np.float32), (x, y, w, h)


def _plane(array: np.ndarray, fed: tuple[int, int], region: tuple[int, int, int, int], channels: int = 1) -> np.ndarray:
    """The last (h, w) or (h, w, channels) of an output, cut to where the image lies. Raises ValueError on other shapes."""
    array = np.asarray(array, dtype=np.float32)
    if channels == 1:
        array = np.squeeze(array)
        if array.ndim != 2:
            raise ValueError(f"an image with one channel was expected, the output has shape {array.shape}")
    else:
        array = np.squeeze(array)
        if array.ndim == 3 and array.shape[0] == channels and array.shape[2] != channels:
            array = array.transpose(1, 2, 0)
        if array.ndim != 3 or array.shape[2] != channels:
            raise ValueError(f"{channels} channels were expected, the output has shape {array.shape}")
    scale_x, scale_y = array.shape[1] / fed[0], array.shape[0] / fed[1]
    x, y, w, h = region
    return array[round(y * scale_y) : round((y + h) * scale_y), round(x * scale_x) : round((x + w) * scale_x)]


def postprocess(
    outputs: dict[str, np.ndarray], spec: OutputSpec, fed: tuple[int, int], region: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray | None, float | None]:
    """(values (h, w) in the sense of DepthMap.kind, confidence or None, horizontal field of view in degrees or None).

    outputs: arrays by role ("depth", "confidence", "mask", "metric_scale", "fov"); fed: (w, h) px of the network's input;
    region: where in it the image lies. Unknown values are NaN. Raises ValueError when a shape is not what was described.
    """
    fov_x_deg = None
    if spec.meaning == "points":
        points = _plane(outputs["depth"], fed, region, channels=3)
        values = points[..., 2].copy()
        if spec.depth.get("shift_unknown"):  # affine point maps: the shift and the lens follow from each other
            weight = _plane(outputs["mask"], fed, region) > 0.5 if "mask" in outputs else None
            focal, shift = focal_and_shift(points, weight)  # focal in units of half the diagonal
            values = values + np.float32(shift)
            h, w = values.shape
            fov_x_deg = float(np.degrees(2 * np.arctan(w / np.hypot(w, h) / focal)))
    else:
        values = _plane(outputs["depth"], fed, region).copy()
        if spec.meaning == "log_depth":
            values = np.exp(np.clip(values, -30.0, 30.0))
        elif spec.meaning == "inverse_depth":
            values = np.where(values > 1e-6, 1.0 / np.maximum(values, 1e-6), np.nan).astype(np.float32)
    values *= np.float32(spec.depth.get("scale", 1.0))
    if "metric_scale" in outputs:
        values *= np.float32(np.ravel(outputs["metric_scale"])[0])
    values[~np.isfinite(values)] = np.nan
    if spec.meaning != "disparity":
        values[~(values > 0)] = np.nan
    if "mask" in outputs:
        mask = _plane(outputs["mask"], fed, region)
        if mask.shape != values.shape:
            mask = cv2.resize(mask, values.shape[::-1], interpolation=cv2.INTER_LINEAR)
        values[mask <= 0.5] = np.nan
    confidence = None
    if "confidence" in outputs:
        confidence = _plane(outputs["confidence"], fed, region)
        confidence = (confidence - spec.confidence.get("offset", 0.0)) * spec.confidence.get("scale", 1.0)
        confidence = np.nan_to_num(np.clip(confidence, 0.0, 1.0)).astype(np.float32)
        if confidence.shape != values.shape:
            confidence = cv2.resize(confidence, values.shape[::-1], interpolation=cv2.INTER_LINEAR)
    if "fov" in outputs:
        fov = float(np.ravel(outputs["fov"])[0])  # of a 3 x 3 matrix of intrinsics: the focal length across
        unit = spec.fov.get("unit", "degrees")
        across = float(np.degrees(2 * np.arctan(region[2] / 2 / fov))) if fov > 0 else None
        fov_x_deg = {"degrees": fov, "radians": float(np.degrees(fov)), "focal_px": across, "intrinsics": across}[unit]
    if fov_x_deg is not None and not 1.0 < fov_x_deg < 175.0:
        fov_x_deg = None
    return values, confidence, fov_x_deg
