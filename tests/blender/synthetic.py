"""A solved shot with exact cameras and points, written as the solver writes a job folder, with footage that shows it.

Only numpy and zlib: these tests run in environments that have Blender and little else.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Synthetic:
    """The truth behind a job folder."""

    folder: Path
    footage: Path
    numbers: np.ndarray  # (F,)
    c2w: np.ndarray  # (F, 4, 4)
    intrinsics: np.ndarray  # (F, 4)
    points: np.ndarray  # (P, 3)
    width: int
    height: int
    k1: float
    k2: float


def write_png(path: Path, rgb: np.ndarray) -> None:
    """An 8-bit RGB picture (H, W, 3)."""
    height, width = rgb.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = rgb.reshape(height, -1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + chunk(b"IEND", b"")
    )


def rotation(axis: str, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def project(points, c2w, fx, fy, cx, cy, k1=0.0, k2=0.0):
    """Pixels (N, 2) and depths (N,): written anew here, so that the add-on's own is tested against something."""
    local = (points - c2w[:3, 3]) @ c2w[:3, :3]
    x, y = local[:, 0] / local[:, 2], local[:, 1] / local[:, 2]
    r2 = x * x + y * y
    bend = 1 + k1 * r2 + k2 * r2 * r2
    return np.stack([fx * x * bend + cx, fy * y * bend + cy], 1), local[:, 2]


def glowing(bpy):
    """A material that shines in pure red, whatever the light."""
    material = bpy.data.materials.new("glow")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    light, out = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    light.inputs[0].default_value = (1.0, 0.0, 0.0, 1.0)
    tree.links.new(light.outputs[0], out.inputs[0])
    return material


def write_job(
    root: Path,
    width: int = 320,
    height: int = 180,
    frames: int = 8,
    first: int = 1001,
    focal: float = 300.0,
    pixel_aspect: float = 1.0,
    centre: tuple[float, float] | None = None,
    zoom: bool = False,
    k1: float = 0.0,
    k2: float = 0.0,
    seed: int = 3,
    gauge: np.ndarray | None = None,
    metric: bool = False,
    depth: bool = True,
    name: str = "shot",
    pictures: bool = True,
    tracks_per_point: int = 120,
    row_time: float = 0.0,
) -> Synthetic:
    """Write footage (a numbered PNG sequence starting at `first`) and a job folder.

    The scene is a floor at height 0 with a box on it, seen by a camera 1.5 above it, in metres with z up; `gauge` (4x4
    similarity, world from
    metres) then puts everything into a frame as arbitrary as a real solve's.
    """
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    floor = np.stack([rng.uniform(-3, 3, 300), rng.uniform(2, 9, 300), np.zeros(300)], 1)
    box = np.stack([rng.uniform(-0.5, 0.5, 80), np.full(80, 5.0), rng.uniform(0, 1, 80)], 1)
    back = np.stack([rng.uniform(-4, 4, 60), np.full(60, 10.0), rng.uniform(0, 3, 60)], 1)
    points = np.concatenate([floor, box, back])
    gauge = np.eye(4) if gauge is None else gauge
    scale = np.cbrt(np.linalg.det(gauge[:3, :3]))
    level = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])  # OpenCV camera looking along +y with z up
    c2w = np.tile(np.eye(4), (frames, 1, 1))
    fx = np.full(frames, focal) * (np.linspace(1.0, 1.4, frames) if zoom else 1.0)
    for i in range(frames):
        part = i / max(1, frames - 1) - 0.5
        metres = np.eye(4)
        metres[:3, :3] = rotation("z", 0.05 * part) @ level @ rotation("x", -0.25 + 0.02 * part)
        metres[:3, 3] = (0.5 * part, 0.05 * part, 1.5 + 0.1 * part)
        moved = gauge @ metres
        c2w[i, :3, :3], c2w[i, :3, 3] = moved[:3, :3] / scale, moved[:3, 3]
    cx, cy = centre or (width / 2, height / 2)
    intrinsics = np.stack([fx, fx * pixel_aspect, np.full(frames, cx), np.full(frames, cy)], 1)
    points = points @ gauge[:3, :3].T + gauge[:3, 3]
    numbers = np.arange(first, first + frames)
    folder = root / "job"
    (folder / "depth").mkdir(parents=True, exist_ok=True)
    observations, tracks = _tracks(points, c2w, intrinsics, k1, k2, width, height, tracks_per_point)
    data = {
        "schema": 1,
        "holdfast": "test",
        "width": width,
        "height": height,
        "motion": "free",
        "metric": metric,
        "clip": {
            "path": str(root / f"{name}.{first:04d}.png"),
            "width": width,
            "height": height,
            "fps": 25.0,
            "frame_start": first,
            "frame_count": frames,
            "frames": [int(numbers[0]), int(numbers[-1])],
            "missing": [],
            "pixel_aspect": pixel_aspect,
            "is_sequence": True,
        },
        "camera": {
            "model": "radial2" if k2 else ("radial1" if k1 else "none"),
            "k1": k1,
            "k2": k2,
            "cx": cx,
            "cy": cy,
            "focal": "varying" if zoom else "constant",
            "row_time": row_time,
        },
        "frames": [
            {"frame": int(n), "c2w": m.tolist(), "fx": k[0], "fy": k[1], "cx": k[2], "cy": k[3], "error_px": 0.1, "tracks": 50}
            for n, m, k in zip(numbers, c2w, intrinsics.tolist())
        ],
        "verdict": {
            "status": "good",
            "summary": "A good solve of a moving camera",
            "motion": "free",
            "motion_observable": True,
            "focal": "measured",
            "focal_range_px": [focal * 0.98, focal * 1.02],
            "distortion": "none",
            "depth": "helped",
            "error_px": 0.12,
            "statements": ["The camera moved freely.", "The focal length was measured."],
            "chosen": [],
        },
        "quality": {},
        "warnings": [],
        "timings": {},
        "depth": {"name": "exact"},
        "keyframes": [int(numbers[frames // 2])],
        "files": {"points": "points.npz", "tracks": "tracks.npz"},
    }
    (folder / "solve.json").write_text(json.dumps(data))
    count = len(points)
    np.savez(
        folder / "points.npz",
        xyz=points.astype(np.float32),
        rgb=rng.integers(20, 235, (count, 3)).astype(np.uint8),
        error_px=np.linspace(0.05, 0.6, count).astype(np.float32),
        length=np.full(count, frames),
        depth_sigma=np.full(count, 0.01, np.float32),
        track=np.arange(count, dtype=np.int32),
    )
    np.savez(folder / "tracks.npz", frame_numbers=numbers, **tracks)
    if depth:
        i = frames // 2
        np.savez(
            folder / "depth" / f"{numbers[i]:06d}.npz",
            depth=_true_depth(c2w[i], intrinsics[i], width, height, gauge).astype(np.float32),
            scale=1.0,
            shift=0.0,
            spread=0.01,
        )
    if pictures:
        for i, number in enumerate(numbers):
            write_png(root / f"{name}.{number:04d}.png", picture(width, height, observations[i], i))
    return Synthetic(folder, root / f"{name}.{first:04d}.png", numbers, c2w, intrinsics, points, width, height, k1, k2)


def _tracks(points, c2w, intrinsics, k1, k2, width, height, most):
    """Exact tracks of the first points, with a gap in one of them; and every frame's visible pixels."""
    seen, rows = [], {"track": [], "frame_index": [], "xy": []}
    for i in range(len(c2w)):
        pixels, depth = project(points, c2w[i], *intrinsics[i], k1, k2)
        inside = (depth > 0) & (pixels > 0).all(1) & (pixels < (width, height)).all(1)
        seen.append(pixels[inside])
        for j in np.flatnonzero(inside)[:most]:
            rows["track"].append(j)
            rows["frame_index"].append(i)
            rows["xy"].append(pixels[j])
    order = np.lexsort((rows["frame_index"], rows["track"]))
    out = {key: np.array(value)[order] for key, value in rows.items()}
    if len(c2w) > 4:  # the first track is lost for a frame
        gone = (out["track"] == out["track"][0]) & (out["frame_index"] == 2)
        out = {key: value[~gone] for key, value in out.items()}
    count = len(points)
    label = np.zeros(count, np.int8)
    label[5::17] = 1
    return seen, {
        **out,
        "sigma_px": np.full(len(out["track"]), 0.2, np.float32),
        "label": label,
        "held_out": np.zeros(count, bool),
        "point": np.where(label == 0, np.arange(count), -1),
    }


def _true_depth(c2w, intrinsics, width, height, gauge):
    """Depth (h, w) of floor, box and back wall, at half resolution, scene units."""
    fx, fy, cx, cy = intrinsics
    w, h = width // 2, height // 2
    x, y = np.meshgrid((np.arange(w) + 0.5) * width / w, (np.arange(h) + 0.5) * height / h)
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)], -1) @ c2w[:3, :3].T
    back = np.linalg.inv(gauge)
    rays = rays @ back[:3, :3].T
    eye = back[:3, :3] @ c2w[:3, 3] + back[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        to_floor = np.where(rays[..., 2] < 0, -eye[2] / rays[..., 2], np.inf)
        to_back = np.where(rays[..., 1] > 0, (10.0 - eye[1]) / rays[..., 1], np.inf)
        to_box = np.where(rays[..., 1] > 0, (5.0 - eye[1]) / rays[..., 1], np.inf)
    place = eye + to_box[..., None] * rays
    on_box = (np.abs(place[..., 0]) < 0.5) & (place[..., 2] > 0) & (place[..., 2] < 1)
    return np.minimum(np.minimum(to_floor, to_back), np.where(on_box, to_box, np.inf))


def picture(width: int, height: int, pixels: np.ndarray, index: int) -> np.ndarray:
    """A frame: a soft gradient, dark dots at the points, and the frame's index as a row of white squares at the top."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + 60 * x / width, 110 + 50 * y / height, np.full(x.shape, 120.0)], -1)
    for u, v in pixels:
        image[max(0, int(v) - 1) : int(v) + 1, max(0, int(u) - 1) : int(u) + 1] = 40
    for i in range(index + 1):
        image[2:6, 4 + 8 * i : 8 + 8 * i] = 255
    return image.astype(np.uint8)
