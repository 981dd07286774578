# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a job folder: what the solver wrote, checked, as arrays. No Blender here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SCHEMA = 1


class JobFolderError(Exception):
    """The folder holds no solve that can be used; the message says why in one line."""


@dataclass(frozen=True)
class Points:
    """The solved points. xyz (P, 3) world, rgb (P, 3) uint8, error_px (P,), length (P,), depth_sigma (P,), track (P,)."""

    xyz: np.ndarray
    rgb: np.ndarray
    error_px: np.ndarray
    length: np.ndarray
    depth_sigma: np.ndarray
    track: np.ndarray


@dataclass(frozen=True)
class Tracks:
    """The 2-D tracks, flat and sorted by track: number (M,) of the clip's frame, track (M,), xy (M, 2) px, label (N,),
    point (N,).
    """

    number: np.ndarray
    track: np.ndarray
    xy: np.ndarray
    label: np.ndarray
    held_out: np.ndarray
    point: np.ndarray
    muted: np.ndarray | None = None  # (N,) bool: left out by the artist; None where nobody was


@dataclass(frozen=True)
class Shot:
    """A solved shot. Cameras are OpenCV world-from-camera, frames have the clip's own numbers."""

    folder: Path
    data: dict
    width: int
    height: int
    numbers: np.ndarray  # (F,) int
    c2w: np.ndarray  # (F, 4, 4)
    intrinsics: np.ndarray  # (F, 4) fx fy cx cy, px
    error_px: np.ndarray  # (F,)
    track_counts: np.ndarray  # (F,)
    k1: float
    k2: float
    points: Points
    tracks: Tracks | None
    depth_files: dict[int, Path] = field(default_factory=dict)  # by frame number
    row_time: float = 0.0  # rolling shutter: from the first row to the last, in frames

    @property
    def clip(self) -> dict:
        return self.data.get("clip", {})

    @property
    def verdict(self) -> dict:
        return self.data.get("verdict") or {}

    @property
    def metric(self) -> bool:
        return bool(self.data.get("metric"))

    @property
    def middle(self) -> int:
        """Index of the middle solved frame."""
        return len(self.numbers) // 2

    @property
    def world_id(self) -> str:
        """Names the world frame: a refined solve lies in that of the solve it was made from."""
        given = self.data.get("world_id")
        return str(given) if given else hashlib.sha256(np.ascontiguousarray(self.c2w, "<f8").tobytes()).hexdigest()[:16]

    @property
    def focal_varies(self) -> bool:
        """True where the focal length changes by more than rounding."""
        fx = self.intrinsics[:, 0]
        return bool(np.ptp(fx) > 1e-6 * fx.mean())

    def index_of(self, number: int) -> int:
        """Index of the solved frame nearest to a clip frame number."""
        return int(np.argmin(np.abs(self.numbers - number)))


def read_shot(folder: str | Path) -> Shot:
    """Read a job folder. Raises JobFolderError where there is no usable solve."""
    folder = Path(folder)
    path = folder / "solve.json"
    if not path.is_file():
        raise JobFolderError(f"No solve in {folder}: solve.json is missing")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobFolderError(f"{path} cannot be read: {error}") from None
    if not isinstance(data, dict) or "frames" not in data:
        raise JobFolderError(f"{path} is not a solve")
    if data.get("schema") != SCHEMA:
        raise JobFolderError(f"{path} has schema {data.get('schema')}, this version reads {SCHEMA}: solve the clip again")
    try:
        return _shot(folder, data)
    except (KeyError, TypeError, ValueError) as error:
        raise JobFolderError(f"{path} is incomplete ({error}): solve the clip again") from None


def _shot(folder: Path, data: dict) -> Shot:
    frames = sorted((f for f in data["frames"] if f.get("c2w") is not None), key=lambda f: f["frame"])
    if not frames:
        raise JobFolderError(f"No frame of the clip got a camera: {(data.get('verdict') or {}).get('summary', 'see solver.log')}")
    c2w = np.array([f["c2w"] for f in frames], float)
    if c2w.shape[1:] != (4, 4) or not np.isfinite(c2w).all():
        raise ValueError("a camera matrix is not 4x4 finite numbers")
    camera = data.get("camera") or {}
    return Shot(
        folder=folder,
        data=data,
        width=int(data["width"]),
        height=int(data["height"]),
        numbers=np.array([f["frame"] for f in frames], int),
        c2w=c2w,
        intrinsics=np.array([[f["fx"], f["fy"], f["cx"], f["cy"]] for f in frames], float),
        error_px=np.array([f.get("error_px") or 0.0 for f in frames], float),
        track_counts=np.array([f.get("tracks") or 0 for f in frames], int),
        k1=float(camera.get("k1") or 0.0),
        k2=float(camera.get("k2") or 0.0),
        row_time=float(camera.get("row_time") or 0.0),
        points=_points(folder / "points.npz"),
        tracks=_tracks(folder / "tracks.npz"),
        depth_files=_depth_files(folder / "depth"),
    )


def _points(path: Path) -> Points:
    if not path.is_file():
        empty = np.zeros(0)
        return Points(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), empty, empty, empty, empty.astype(np.int32))
    with np.load(path) as file:
        xyz = np.asarray(file["xyz"], float).reshape(-1, 3)
        count = len(xyz)

        def column(name: str, default: float) -> np.ndarray:
            return np.asarray(file[name]) if name in file and len(file[name]) == count else np.full(count, default)

        rgb = np.asarray(file["rgb"]) if "rgb" in file else np.full((count, 3), 200, np.uint8)
        whole = Points(
            xyz,
            rgb,
            column("error_px", 0.0),
            column("length", 0),
            column("depth_sigma", 0.0),
            column("track", -1).astype(np.int32),
        )
    keep = np.isfinite(whole.xyz).all(1)
    if keep.all():
        return whole
    return Points(*(getattr(whole, name)[keep] for name in ("xyz", "rgb", "error_px", "length", "depth_sigma", "track")))


def _tracks(path: Path) -> Tracks | None:
    if not path.is_file():
        return None
    with np.load(path) as file:
        label = np.asarray(file["label"])
        held = np.asarray(file["held_out"], bool) if "held_out" in file else np.zeros(len(label), bool)
        point = np.asarray(file["point"]) if "point" in file else np.full(len(label), -1)
        return Tracks(
            np.asarray(file["frame_numbers"])[np.asarray(file["frame_index"])],
            np.asarray(file["track"]),
            np.asarray(file["xy"], float),
            label,
            held,
            point,
            np.asarray(file["muted"], bool) if "muted" in file else None,
        )


def _depth_files(folder: Path) -> dict[int, Path]:
    return {int(path.stem): path for path in sorted(folder.glob("*.npz")) if path.stem.isdigit()} if folder.is_dir() else {}


def read_depth(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """A keyframe's depth (h, w) in scene units, NaN where unknown, and its confidence (h, w) or None."""
    with np.load(path) as file:
        depth = np.asarray(file["depth"], float)
        confidence = np.asarray(file["confidence"], float) if "confidence" in file and file["confidence"].ndim == 2 else None
    depth[~(depth > 0)] = np.nan
    return depth, confidence
