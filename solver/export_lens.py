"""The lens for compositing: STMaps and a Nuke script.

Both undistort to a pinhole picture of the same size and focal length whose optical axis is in the middle, which is the
picture that `camera.chan` fits, and distort renders of that camera back to the plate.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import EXIT_OUTPUT, HoldfastError
from .export import plate_frames
from .export_scene import camera_curves
from .poses import focal_xy
from .types import Camera, Solution

HAPERTURE_MM = 36.0  # only the ratio to the focal length matters


def distort(camera: Camera, focal: tuple[float, float], undistorted: np.ndarray) -> np.ndarray:
    """(..., 2) px in the plate of px in the centred pinhole picture."""
    x = (undistorted[..., 0] - camera.width / 2) / focal[0]
    y = (undistorted[..., 1] - camera.height / 2) / focal[1]
    r2 = x * x + y * y
    factor = 1 + camera.k1 * r2 + camera.k2 * r2 * r2
    return np.stack([focal[0] * factor * x + camera.cx, focal[1] * factor * y + camera.cy], -1)


def undistort(camera: Camera, focal: tuple[float, float], distorted: np.ndarray) -> np.ndarray:
    """(..., 2) px in the centred pinhole picture of px in the plate: the radius by Newton's method.

    Beyond the radius at which the radial model folds back there is no answer: NaN.
    """
    x = (distorted[..., 0] - camera.cx) / focal[0]
    y = (distorted[..., 1] - camera.cy) / focal[1]
    wanted = np.hypot(x, y)
    radius = wanted.copy()
    for _ in range(30):
        r2 = radius * radius
        value = radius * (1 + camera.k1 * r2 + camera.k2 * r2 * r2) - wanted
        slope = 1 + 3 * camera.k1 * r2 + 5 * camera.k2 * r2 * r2
        step = value / np.where(np.abs(slope) < 1e-6, 1e-6, slope)
        radius = np.clip(radius - np.clip(step, -0.5, 0.5), 0, 10)
    r2 = radius * radius
    residual = radius * (1 + camera.k1 * r2 + camera.k2 * r2 * r2) - wanted
    folded = (np.abs(residual) > 1e-9) | (1 + 3 * camera.k1 * r2 + 5 * camera.k2 * r2 * r2 <= 0)
    scale = np.where(folded, np.nan, np.divide(radius, wanted, out=np.ones_like(wanted), where=wanted > 1e-12))
    return np.stack([focal[0] * scale * x + camera.width / 2, focal[1] * scale * y + camera.height / 2], -1)


def st_map(camera: Camera, focal: tuple[float, float], direction: str) -> np.ndarray:
    """(H, W, 3) float32 RGB STMap, top row first: where each pixel looks its colour up, u to the right and v up, in 0..1.

    direction: "undistort" (makes the pinhole picture from the plate) or "redistort" (the plate from the pinhole picture).
    """
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    here = np.stack([x, y], -1)
    there = distort(camera, focal, here) if direction == "undistort" else undistort(camera, focal, here)
    result = np.zeros((camera.height, camera.width, 3), np.float32)
    result[..., 0] = there[..., 0] / camera.width
    result[..., 1] = 1 - there[..., 1] / camera.height
    result[~np.isfinite(there).all(-1)] = -1.0  # outside the picture: black in every compositor
    return result


def write_stmaps(solution: Solution, folder: Path) -> None:
    """`undistort.exr` and `redistort.exr`, 32-bit float; a pair per frame for zooms (`undistort.0012.exr`)."""
    folder.mkdir()
    focal = focal_xy(solution)
    varying = np.ptp(solution.focal_px) > 1e-9 * solution.focal_px.mean() and solution.camera.k1 != 0
    for i in range(len(focal) if varying else 1):
        suffix = f".{int(plate_frames(solution)[i]):04d}" if varying else ""
        for direction in ("undistort", "redistort"):
            write_exr(folder / f"{direction}{suffix}.exr", st_map(solution.camera, tuple(focal[i]), direction))


def write_exr(path: Path, rgb: np.ndarray) -> None:
    """A 32-bit float EXR of an (H, W, 3) RGB picture. Raises HoldfastError where OpenCV was built without OpenEXR."""
    from . import sequence  # noqa: F401  sets the switch that OpenCV wants before it is imported

    import cv2  # isort: skip

    options = [cv2.IMWRITE_EXR_TYPE, cv2.IMWRITE_EXR_TYPE_FLOAT, cv2.IMWRITE_EXR_COMPRESSION, cv2.IMWRITE_EXR_COMPRESSION_ZIP]
    try:
        done = cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1], dtype=np.float32), options)
    except cv2.error:
        done = False
    if not done:
        raise HoldfastError(
            "output.exr",
            f"{path.name} could not be written as EXR.",
            "Free disk space if it is full; some builds of OpenCV lack OpenEXR.",
            EXIT_OUTPUT,
        )


def _curve(frames: np.ndarray, values: np.ndarray) -> str:
    """Nuke's animation curve; a plain number where nothing moves."""
    if np.ptp(values) == 0:
        return f"{values[0]:.12g}"
    keys = " ".join(f"x{int(frame)} {value:.12g}" for frame, value in zip(frames, values, strict=True))
    return "{curve " + keys + "}"


def undistort_expressions(camera: Camera, fx: str, fy: str) -> tuple[str, str]:
    """Nuke expressions (u, v) of the undistorting STMap at pixel (x, y), whose y counts from the bottom.

    fx, fy: expressions of the focal lengths in px.
    """
    k1, k2, cx, cy = (float(value) for value in (camera.k1, camera.k2, camera.cx, camera.height - camera.cy))
    a = f"((x+0.5-{camera.width / 2!r})/({fx}))"
    b = f"((y+0.5-{camera.height / 2!r})/({fy}))"
    r2 = f"({a}*{a}+{b}*{b})"
    factor = f"(1+({k1!r})*{r2}+({k2!r})*{r2}*{r2})"
    u = f"(({fx})*{factor}*{a}+{cx!r})/{camera.width}"
    v = f"(({fy})*{factor}*{b}+{cy!r})/{camera.height}"
    return u, v


def nuke_script(solution: Solution) -> str:
    """A Nuke script to paste or open: the camera, and a node that undistorts the plate by the lens formula itself.

    It uses Expression and STMap, which every edition of Nuke has. The way back (redistort) needs the inverse: use the STMap.
    """
    camera = solution.camera
    curves = camera_curves(solution)
    frames = plate_frames(solution)
    focal = focal_xy(solution)
    focal_mm = focal[:, 0] / camera.width * HAPERTURE_MM
    vaperture = HAPERTURE_MM * camera.height / camera.width * focal[0, 0] / focal[0, 1]
    move = " ".join(_curve(frames, curves[:, i]) for i in (1, 2, 3))
    turn = " ".join(_curve(frames, curves[:, i]) for i in (4, 5, 6))
    u, v = undistort_expressions(camera, "parent.focal_x", "parent.focal_y")
    aspect = solution.clip.pixel_aspect
    size = f'"{camera.width} {camera.height} 0 0 {camera.width} {camera.height} {aspect:g} holdfast"'
    return f"""\
# Holdfast: camera and lens. The camera fits the undistorted picture; rotation order ZXY.
Camera2 {{
 inputs 0
 rot_order ZXY
 translate {{{move}}}
 rotate {{{turn}}}
 focal {_braced(_curve(frames, focal_mm))}
 haperture {HAPERTURE_MM:g}
 vaperture {vaperture:.12g}
 name HoldfastCamera
 xpos 200
 ypos 0
}}
Group {{
 inputs 1
 name HoldfastUndistort
 tile_color 0x4a7a5aff
 addUserKnob {{20 lens l Lens}}
 addUserKnob {{7 focal_x l "focal length across, px" R 0 100000}}
 focal_x {_braced(_curve(frames, focal[:, 0]))}
 addUserKnob {{7 focal_y l "focal length down, px" R 0 100000}}
 focal_y {_braced(_curve(frames, focal[:, 1]))}
 addUserKnob {{26 model l "" +STARTLINE T "{camera.distortion_model}: k1 {camera.k1:.9g}, k2 {camera.k2:.9g}"}}
}}
 Input {{
  inputs 0
  name Plate
  xpos 0
  ypos 0
 }}
set plate [stack 0]
 Constant {{
  inputs 0
  channels rgb
  format {size}
  name Size
  xpos 150
  ypos 0
 }}
 Expression {{
  expr0 "{u}"
  expr1 "{v}"
  expr2 0
  name LensFormula
  xpos 150
  ypos 60
 }}
push $plate
 STMap {{
  inputs 2
  channels all
  uv rgb
  name Undistort
  xpos 0
  ypos 120
 }}
 Output {{
  name Output1
  xpos 0
  ypos 180
 }}
end_group
"""


def _braced(curve: str) -> str:
    return "{" + curve + "}" if curve.startswith("{") else curve


def write_nuke_lens(solution: Solution, path: Path) -> None:
    """Write `nuke_script`."""
    path.write_text(nuke_script(solution), encoding="ascii")
