# SPDX-License-Identifier: GPL-3.0-or-later
"""From the solver's cameras to Blender's and back: the one place where axes are flipped and pixels become millimetres.

The solver: OpenCV cameras (x right, y down, z forward), the image spans [0, W] x [0, H] with y down, focal lengths in px.
Blender: the camera looks along -z with y up; the lens is in mm on a sensor whose side is chosen by the sensor fit; the principal
point is a shift in units of the fitted side; pixels may be wider than tall (pixel aspect).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class BlenderLens:
    """What a Blender camera and render need to see like a solved camera."""

    lens_mm: float
    sensor_width_mm: float
    sensor_height_mm: float
    sensor_fit: str  # AUTO | HORIZONTAL | VERTICAL
    shift_x: float
    shift_y: float
    pixel_aspect_x: float
    pixel_aspect_y: float


def blender_from_opencv(c2w: np.ndarray) -> np.ndarray:
    """Blender's camera matrix of OpenCV world-from-camera matrices, (..., 4, 4). The world stays as it is."""
    return np.asarray(c2w, float) @ _FLIP


def opencv_from_blender(matrix: np.ndarray) -> np.ndarray:
    """OpenCV world-from-camera matrices of Blender's camera matrices, (..., 4, 4)."""
    return np.asarray(matrix, float) @ _FLIP


def pixel_aspect(fx: float, fy: float) -> tuple[float, float]:
    """Blender's (pixel_aspect_x, pixel_aspect_y), both at least 1: a pixel is fy / fx times as wide as tall."""
    ratio = fy / fx
    if abs(ratio - 1.0) < 1e-9:
        return 1.0, 1.0
    return (ratio, 1.0) if ratio > 1.0 else (1.0, 1.0 / ratio)


def fitted_side_px(width: int, height: int, aspect: tuple[float, float], sensor_fit: str) -> tuple[float, bool]:
    """The side the sensor is fitted to, in px of x, and whether that is the height.

    AUTO takes the longer side as displayed. A height counts in px of x, hence the pixel aspect.
    """
    y_in_x = aspect[1] / aspect[0]
    vertical = sensor_fit == "VERTICAL" or (sensor_fit == "AUTO" and aspect[0] * width < aspect[1] * height)
    return (y_in_x * height, True) if vertical else (float(width), False)


def lens_from_pixels(
    fx: float, fy: float, cx: float, cy: float, width: int, height: int, sensor_mm: float = 36.0, sensor_fit: str = "HORIZONTAL"
) -> BlenderLens:
    """Blender's lens of a pinhole camera in px.

    sensor_mm: width of the sensor. Under VERTICAL its height follows from the image's shape; under AUTO Blender uses the
    width for the longer side, whichever that is.
    """
    aspect = pixel_aspect(fx, fy)
    side_px, vertical = fitted_side_px(width, height, aspect, sensor_fit)
    y_in_x = aspect[1] / aspect[0]
    sensor_height = sensor_mm * y_in_x * height / width
    side_mm = sensor_height if (vertical and sensor_fit == "VERTICAL") else sensor_mm
    return BlenderLens(
        lens_mm=fx * side_mm / side_px,
        sensor_width_mm=sensor_mm,
        sensor_height_mm=sensor_height,
        sensor_fit=sensor_fit,
        shift_x=(width / 2.0 - cx) / side_px,
        shift_y=(cy - height / 2.0) * y_in_x / side_px,
        pixel_aspect_x=aspect[0],
        pixel_aspect_y=aspect[1],
    )


def pixels_from_lens(lens: BlenderLens, width: int, height: int) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) in px of a Blender lens: the inverse of `lens_from_pixels`."""
    aspect = (lens.pixel_aspect_x, lens.pixel_aspect_y)
    side_px, vertical = fitted_side_px(width, height, aspect, lens.sensor_fit)
    y_in_x = aspect[1] / aspect[0]
    side_mm = lens.sensor_height_mm if (vertical and lens.sensor_fit == "VERTICAL") else lens.sensor_width_mm
    fx = lens.lens_mm * side_px / side_mm
    return fx, fx / y_in_x, width / 2.0 - lens.shift_x * side_px, height / 2.0 + lens.shift_y * side_px / y_in_x


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """Unit quaternions (w, x, y, z) of rotations (F, 3, 3), each on the side of the one before, so that none turns the
    long way.
    """
    m = np.asarray(rotations, float)
    # The symmetric 4x4 matrix whose leading eigenvector is the quaternion: no branches, no loss near half turns
    # (Bar-Itzhack 2000).
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    k = np.zeros((len(m), 4, 4))
    k[:, 0, 0] = xx + yy + zz
    k[:, 1, 1] = xx - yy - zz
    k[:, 2, 2] = yy - xx - zz
    k[:, 3, 3] = zz - xx - yy
    k[:, 0, 1] = k[:, 1, 0] = m[:, 2, 1] - m[:, 1, 2]
    k[:, 0, 2] = k[:, 2, 0] = m[:, 0, 2] - m[:, 2, 0]
    k[:, 0, 3] = k[:, 3, 0] = m[:, 1, 0] - m[:, 0, 1]
    k[:, 1, 2] = k[:, 2, 1] = m[:, 1, 0] + m[:, 0, 1]
    k[:, 1, 3] = k[:, 3, 1] = m[:, 2, 0] + m[:, 0, 2]
    k[:, 2, 3] = k[:, 3, 2] = m[:, 2, 1] + m[:, 1, 2]
    q = np.linalg.eigh(k)[1][:, :, -1]
    if len(q) and q[0, 0] < 0:
        q[0] = -q[0]
    for i in range(1, len(q)):
        if q[i] @ q[i - 1] < 0:
            q[i] = -q[i]
    return q


def distort(xy: np.ndarray, k1: float, k2: float) -> np.ndarray:
    """Where the lens puts undistorted normalised points (N, 2): x_d = x_u (1 + k1 r^2 + k2 r^4)."""
    r2 = (xy**2).sum(-1, keepdims=True)
    return xy * (1.0 + k1 * r2 + k2 * r2 * r2)


def undistort(xy: np.ndarray, k1: float, k2: float) -> np.ndarray:
    """Undistorted normalised points of distorted ones (N, 2), by Newton's method on the radius.

    Beyond the radius where the model folds over there is no answer: the fold's own radius is given there.
    """
    xy = np.asarray(xy, float)
    if k1 == 0.0 and k2 == 0.0:
        return xy.copy()
    rd = np.linalg.norm(xy, axis=-1)
    ru = rd.copy()
    limit = fold_radius(k1, k2)
    for _ in range(20):
        r2 = ru * ru
        slope = 1.0 + 3.0 * k1 * r2 + 5.0 * k2 * r2 * r2
        ru = np.clip(ru - (ru * (1.0 + k1 * r2 + k2 * r2 * r2) - rd) / np.where(np.abs(slope) < 1e-6, 1e-6, slope), 0.0, limit)
    return xy * np.where(rd > 1e-12, ru / np.maximum(rd, 1e-12), 1.0)[..., None]


def fold_radius(k1: float, k2: float) -> float:
    """Radius (undistorted) where the distorted radius stops growing; infinite if it never does."""
    # 1 + 3 k1 s + 5 k2 s^2 = 0 with s = r^2
    roots = np.roots([5.0 * k2, 3.0 * k1, 1.0]) if k2 else (np.array([-1.0 / (3.0 * k1)]) if k1 else np.array([]))
    real = [root.real for root in np.atleast_1d(roots) if abs(root.imag) < 1e-12 and root.real > 0]
    return float(np.sqrt(min(real))) if real else float("inf")


def project(
    points: np.ndarray, c2w: np.ndarray, fx: float, fy: float, cx: float, cy: float, k1: float = 0.0, k2: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2) and depths (N,) of world points (N, 3) in an OpenCV camera; NaN behind it."""
    w2c = np.linalg.inv(np.asarray(c2w, float))
    local = np.asarray(points, float) @ w2c[:3, :3].T + w2c[:3, 3]
    depth = local[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = np.where(depth[:, None] > 1e-12, local[:, :2] / depth[:, None], np.nan)
    normal = distort(normal, k1, k2)
    return normal * (fx, fy) + (cx, cy), depth


def rays(xy_px: np.ndarray, fx: float, fy: float, cx: float, cy: float, k1: float = 0.0, k2: float = 0.0) -> np.ndarray:
    """Directions (N, 3) in the OpenCV camera through image points (N, 2) px, with z = 1."""
    normal = (np.asarray(xy_px, float) - (cx, cy)) / (fx, fy)
    normal = undistort(normal, k1, k2)
    return np.concatenate([normal, np.ones((len(normal), 1))], 1)
