"""Renders one shot to a movie with exact ground truth: lens distortion, rolling shutter, motion blur, grain, H.264.

The picture is rendered at twice the size through a pinhole, bent by the lens's inverse map in one resampling, averaged in linear
light over the shutter's time and the sensor's pixels, then grained and encoded. The truth is the pose at the middle of the
exposure of the middle row.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from tests.bench.movers import FIRST_MOVER_ID
from tests.bench.raster import Rasteriser
from tests.bench.scenes import Place
from tests.bench.trajectories import CameraPath

SUPERSAMPLING = 2
DEPTH_FRAMES = 5
DEPTH_STEP = 4  # one depth value every so many pixels
GRID_COLUMNS = 22
TO_LINEAR = ((np.arange(256) / 255.0) ** 2.2).astype(np.float32)
ROWS_PER_BAND = 16  # of a rolling shutter: rows that share one rendering, bent to each row's own turn


@dataclass(frozen=True)
class Lens:
    """What the camera does to the picture. shutter: share of the frame's time that is exposed; row_time in frames;
    shutter_samples: most moments averaged over it."""

    k1: float = 0.0
    k2: float = 0.0
    row_time: float = 0.0
    shutter_samples: int = 1
    shutter: float = 0.5
    blur_px: float = 0.45
    grain: float = 2.2  # spread in 8-bit steps in the mid-tones
    grain_px: float = 0.55
    crf: int = 17


class Camera:
    """Turns a place and a path into pictures of one size."""

    def __init__(self, width: int, height: int, lens: Lens) -> None:
        self.width, self.height, self.lens = width, height, lens
        # Barrel distortion sees beyond the pinhole's frame.
        self.margin = 1.0
        if lens.k1 or lens.k2:
            self.margin = 1.45
        s = SUPERSAMPLING
        self.big = (2 * round(width * s * self.margin / 2), 2 * round(height * s * self.margin / 2))
        self.raster = Rasteriser(*self.big, samples=1, shadow_px=2048)
        self.band_margin = 24
        self.band: Rasteriser | None = None

    def _view(self, path: CameraPath, t: float) -> tuple[np.ndarray, float, float, float, float]:
        """(camera from world, fx, fy, cx, cy) of the large pinhole at a moment."""
        c2w, focal = path(t)
        f = focal * self.width * SUPERSAMPLING
        return np.linalg.inv(c2w), f, f, self.big[0] / 2, self.big[1] / 2

    def geometry(self, place: Place, path: CameraPath, t: float) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) depth (NaN: sky) and ids of the pinhole picture at the final size: the upper left sub-pixel of each pixel."""
        with self.raster.ctx:
            depth, ids = self.raster.geometry(place.at(t), *self._view(path, t))
        s = SUPERSAMPLING
        top, left = (self.big[1] - self.height * s) // 2, (self.big[0] - self.width * s) // 2
        cut = np.s_[top : top + self.height * s : s, left : left + self.width * s : s]
        return np.where(np.isfinite(depth[cut]), depth[cut], np.nan), ids[cut]

    def moment(self, place: Place, path: CameraPath, t: float) -> np.ndarray:
        """(sH, sW, 3) uint8 of a moment at twice the size, lens and rolling shutter applied."""
        if not self.lens.row_time:
            view = self._view(path, t)
            with self.raster.ctx:
                rgb = self.raster.colour(place.at(t), *view)
            return self._bend(rgb, view[1]) if self.lens.k1 or self.lens.k2 else rgb
        return self._rolling(place, path, t)

    def _bend(self, rgb: np.ndarray, f_big: float) -> np.ndarray:
        """The large pinhole picture through the lens; f_big in its px."""
        s = SUPERSAMPLING
        out_w, out_h = self.width * s, self.height * s
        x, y = np.meshgrid((np.arange(out_w) + 0.5 - out_w / 2) / f_big, (np.arange(out_h) + 0.5 - out_h / 2) / f_big)
        distorted = np.hypot(x, y)
        r = distorted.copy()
        for _ in range(12):
            k1, k2, r2 = self.lens.k1, self.lens.k2, r * r
            r -= (r * (1 + k1 * r2 + k2 * r2 * r2) - distorted) / (1 + 3 * k1 * r2 + 5 * k2 * r2 * r2)
        ratio = np.where(distorted > 1e-9, r / np.maximum(distorted, 1e-9), 1)
        u = (x * ratio * f_big + self.big[0] / 2 - 0.5).astype(np.float32)
        v = (y * ratio * f_big + self.big[1] / 2 - 0.5).astype(np.float32)
        if u.min() < 0 or v.min() < 0 or u.max() > self.big[0] - 1 or v.max() > self.big[1] - 1:
            raise ValueError("the lens sees beyond the rendered margin; render larger")
        return cv2.remap(rgb, u, v, cv2.INTER_CUBIC)

    def _rolling(self, place: Place, path: CameraPath, t: float) -> np.ndarray:
        """Bands of rows, each rendered at its own time; within a band every row is turned to its own orientation."""
        s = SUPERSAMPLING
        w, h = self.width * s, self.height * s
        rows, margin = ROWS_PER_BAND * s, self.band_margin * s
        if self.band is None:
            self.band = Rasteriser(w + 2 * margin, rows + 2 * margin, samples=1, shadow_px=2048)
        out = np.empty((h, w, 3), np.uint8)
        for top in range(0, h, rows):
            count = min(rows, h - top)
            time = t + self.lens.row_time * ((top + count / 2) / h - 0.5)
            c2w, focal = path(time)
            f = focal * self.width * s
            cx, cy = w / 2 + margin, h / 2 - top + margin
            with self.band.ctx:
                rgb = self.band.colour(place.at(time), np.linalg.inv(c2w), f, f, cx, cy)
            u = np.arange(w) + 0.5 + margin
            maps = np.empty((2, count, w), np.float32)
            for row in range(count):
                row_c2w, row_focal = path(t + self.lens.row_time * ((top + row + 0.5) / h - 0.5))
                turn = c2w[:3, :3].T @ row_c2w[:3, :3]  # band camera from row camera
                f_row = row_focal * self.width * s
                ray = turn @ np.stack([(u - cx) / f_row, np.full(w, (row + 0.5 + margin - cy) / f_row), np.ones(w)])
                maps[0, row], maps[1, row] = f * ray[0] / ray[2] + cx - 0.5, f * ray[1] / ray[2] + cy - 0.5
            out[top : top + count] = cv2.remap(rgb, maps[0], maps[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return out

    def exposed(self, place: Place, path: CameraPath, t: float) -> np.ndarray:
        """(H, W, 3) float32, linear light, of the frame at t: the shutter's time and the pixels averaged, lens blur applied."""
        n, s = self._samples(path, t), SUPERSAMPLING
        total = np.zeros((self.height, self.width, 3), np.float32)
        for k in range(n):
            when = t + (self.lens.shutter * ((k + 0.5) / n - 0.5) if n > 1 else 0.0)
            linear = TO_LINEAR[self.moment(place, path, when)]
            if self.lens.blur_px:
                linear = cv2.GaussianBlur(linear, (0, 0), self.lens.blur_px * s)
            total += cv2.resize(linear, (self.width, self.height), interpolation=cv2.INTER_AREA) / n
        return total

    def _samples(self, path: CameraPath, t: float) -> int:
        """How many moments the exposure needs: one every 3 px of blur, at most the lens's number."""
        if self.lens.shutter_samples <= 1:
            return 1
        (first, focal), (last, _) = (path(t + side * self.lens.shutter / 2) for side in (-1, 1))
        turn = np.linalg.norm(first[:3, :3] - last[:3, :3]) / np.sqrt(2)  # radians, for small turns
        return int(np.clip(np.ceil(turn * focal * self.width / 3), 1, self.lens.shutter_samples))

    def developed(self, linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 RGB: gamma and film grain, strongest in the mid-tones."""
        picture = np.clip(linear, 0, 1) ** (1 / 2.2)
        grain = rng.standard_normal((*picture.shape[:2], 1), np.float32) + 0.35 * rng.standard_normal(picture.shape, np.float32)
        if self.lens.grain_px:
            grain = cv2.GaussianBlur(grain, (0, 0), self.lens.grain_px)
            grain /= float(grain.std())
        strength = self.lens.grain * (0.45 + 2.2 * picture * (1 - picture))
        return np.clip(picture * 255 + strength * grain + 0.5, 0, 255).astype(np.uint8)


def render_shot(
    name: str,
    place: Place,
    path: CameraPath,
    lens: Lens,
    size: tuple[int, int],
    count: int,
    folder: Path,
    seed: int,
    fps: int = 24,
    say: Callable[[int, int], None] | None = None,
) -> Path:
    """Write NAME.mp4, NAME.gt.json, NAME.depth.npz and NAME.mask.npz into folder; returns the movie's path."""
    width, height = size
    camera = Camera(width, height, lens)
    rng = np.random.default_rng([seed, 77])
    folder.mkdir(parents=True, exist_ok=True)
    movie = folder / f"{name}.mp4"
    unfinished = folder / f"{name}.unfinished.mp4"
    frames, masks, depths = [], {}, {}
    depth_at = {round(k * (count - 1) / (DEPTH_FRAMES - 1)) for k in range(DEPTH_FRAMES)}
    middle = count // 2
    grid: dict = {}
    with av.open(str(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(lens.crf), "preset": "medium", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(count):
            picture = camera.developed(camera.exposed(place, path, float(t)), rng)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            c2w, focal = path(float(t))
            f = focal * width
            frames.append({"frame": t, "c2w": c2w.tolist(), "fx": f, "fy": f, "cx": width / 2, "cy": height / 2})
            if t in depth_at or t == middle or place.movers:
                depth, ids = camera.geometry(place, path, float(t))
                if place.movers:
                    masks[str(t)] = np.packbits(ids >= FIRST_MOVER_ID, axis=None)
                if t in depth_at:
                    still = np.where(ids >= FIRST_MOVER_ID, np.nan, depth)
                    depths[str(t)] = still[DEPTH_STEP // 2 :: DEPTH_STEP, DEPTH_STEP // 2 :: DEPTH_STEP].astype(np.float16)
                if t == middle:
                    grid = _true_points(depth, ids, c2w, f, width, height, t)
            if say:
                say(t + 1, count)
        container.mux(stream.encode())
    scene_depth = float(np.median([p[2] for p in _camera_points(grid, frames[middle])]))
    positions = np.array([np.array(f["c2w"])[:3, 3] for f in frames])
    truth = {
        "shot": name, "seed": seed, "width": width, "height": height, "fps": fps,
        "k1": lens.k1, "k2": lens.k2, "rolling": lens.row_time,
        "baseline_over_depth": float(np.linalg.norm(positions[:, None] - positions[None], axis=2).max() / scene_depth),
        "mover_share": float(np.mean([np.unpackbits(m).mean() for m in masks.values()])) if masks else 0.0,
        "frames": frames, "grid": grid,
    }  # fmt: skip
    np.savez_compressed(folder / f"{name}.depth.npz", **depths)
    np.savez_compressed(folder / f"{name}.mask.npz", shape=np.array([height, width]), **masks)
    (folder / f"{name}.gt.json").write_text(json.dumps(truth))
    unfinished.replace(movie)
    return movie


def _true_points(depth: np.ndarray, ids: np.ndarray, c2w: np.ndarray, f: float, width: int, height: int, frame: int) -> dict:
    """A regular grid of what stands still in the picture, as world points."""
    step = width / (GRID_COLUMNS + 0.5)
    u, v = (g.ravel().astype(int) for g in np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step)))
    z = depth[v, u]
    good = np.isfinite(z) & (ids[v, u] < FIRST_MOVER_ID)
    u, v, z = u[good], v[good], z[good].astype(float)
    # The sample taken is the upper left of each pixel's sub-pixels.
    offset = 0.5 / SUPERSAMPLING
    camera = np.stack([(u + offset - width / 2) / f * z, (v + offset - height / 2) / f * z, z], 1)
    world = camera @ c2w[:3, :3].T + c2w[:3, 3]
    return {"frame": frame, "uv": np.c_[u, v].tolist(), "xyz": world.tolist()}


def _camera_points(grid: dict, frame: dict) -> np.ndarray:
    w2c = np.linalg.inv(np.array(frame["c2w"]))
    return np.array(grid["xyz"]) @ w2c[:3, :3].T + w2c[:3, 3]
