"""The live picture: what a solve sees while it runs, as compact `preview` events for whoever watches (the Clip editor, say).

Two kinds, each sent a few times a second at most:
  {"event": "preview", "kind": "keypoints", "frame": 31, "points": [[x, y, nearness], ...]}
      px of the full resolution; nearness 0 (far) to 1 (near) within the shot, null unknown, -1 a thing that moves by itself
  {"event": "preview", "kind": "scene", "stage": "adjust", "path": [[x, y, z], ...], "forward": [x, y, z],
   "points": [[x, y, z, r, g, b], ...]}
      OpenCV axes of the first camera, in units of the points' median distance; forward: where the last camera looks
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .types import LABEL_MOVER, LABEL_STATIC, DepthMap, Progress

if TYPE_CHECKING:
    from .reconstruct import State
    from .view import ShotView

MAX_POINTS = 300
MAX_PATH = 150
INTERVAL_S = 0.3


class Preview:
    """Sends previews through a reporter that wants them (`wants_preview`); costs nothing where none does."""

    def __init__(self, progress: Progress) -> None:
        self._send = progress.event if getattr(progress, "wants_preview", False) else None
        self._sent = {"keypoints": 0.0, "scene": 0.0}
        self._nearness = np.full(0, np.nan)  # by the tracker's own track numbers
        self._keyframes: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # frame index -> track numbers, xy

    @property
    def wanted(self) -> bool:
        """False where nobody watches."""
        return self._send is not None

    def _due(self, kind: str) -> bool:
        """Whether it is time for another one of a kind; the time is then taken as spent."""
        now = time.monotonic()
        if self._send is None or now - self._sent[kind] < INTERVAL_S:
            return False
        self._sent[kind] = now
        return True

    # ---- while tracking

    def tracked(self, index: int, frame: int, ids: np.ndarray, xy: np.ndarray, size: tuple[int, int], waiting: dict) -> None:
        """A frame was tracked. ids (n,), xy (n, 2) px with the first pixel's centre at (0, 0), size (width, height) px;
        waiting: frame index -> future of its DepthMap, read as far as they are done."""
        if self._send is None:
            return
        if index in waiting:
            self._keyframes[index] = (ids.copy(), xy.copy())
        if not self._due("keypoints"):
            return
        for key in [k for k in self._keyframes if k in waiting and waiting[k].done()]:
            self._learn(*self._keyframes.pop(key), waiting[key], size)
        known = np.full(len(ids), np.nan)
        old = ids < len(self._nearness)
        known[old] = self._nearness[ids[old]]
        self._keypoints(frame, xy + 0.5, known)

    def _learn(self, ids: np.ndarray, xy: np.ndarray, future: Any, size: tuple[int, int]) -> None:
        """The nearness of the tracks of a keyframe, from its depth map."""
        if future.exception() is not None or future.result() is None:  # whoever collects the maps reports that
            return
        if len(ids) and ids.max() >= len(self._nearness):
            grown = np.full(int(ids.max()) + 256, np.nan)
            grown[: len(self._nearness)] = self._nearness
            self._nearness = grown
        self._nearness[ids] = map_nearness(future.result(), xy + 0.5, *size)

    # ---- while solving

    def solved(self, stage: str, view: ShotView, state: State, colour: np.ndarray, frame: int | None = None) -> None:
        """Cameras or points are new. colour (N, 3) uint8 RGB of the tracks; frame: index of the frame the news is about."""
        if self._send is None:
            return
        world = state.world
        if frame is not None and self._due("keypoints"):
            rows = view.rows_of(frame)
            track = view.tracks.track[rows]
            rows, track = rows[world.known[track]], track[world.known[track]]
            near = 1.0 / np.maximum(world.depth_in(frame, track), 1e-9)
            static = state.label[track] == LABEL_STATIC
            near = stretch(near, static)
            near[state.label[track] == LABEL_MOVER] = -1.0
            self._keypoints(int(view.tracks.frame_numbers[frame]), view.tracks.xy[rows], near)
        if self._due("scene"):
            self._scene(stage, view, state, colour)

    def _scene(self, stage: str, view: ShotView, state: State, colour: np.ndarray) -> None:
        world = state.world
        frames = np.flatnonzero(world.registered)
        if not len(frames):
            return
        static = np.flatnonzero(world.known & (state.label == LABEL_STATIC) & (world.rho > 1e-6))
        points = world.origin[static] + world.direction[static] / world.rho[static][:, None]
        rotation, centre = world.rotation[frames[0]], world.centre(frames[0])
        path = np.array([world.centre(f) for f in frames])
        local = (points - centre) @ rotation.T
        unit = float(np.median(local[:, 2])) if len(local) else 1.0
        if not unit > 0 or not np.isfinite(unit):
            return
        local, path = local / unit, (path - centre) @ rotation.T / unit
        keep = np.flatnonzero((local[:, 2] > 0) & (np.abs(local) < 8).all(1))
        keep = keep[:: max(1, -(-len(keep) // MAX_POINTS))]
        path = path[:: max(1, -(-len(path) // MAX_PATH))]
        rgb = colour[static[keep]].astype(int).tolist()
        points = [[*p, *c] for p, c in zip(np.round(local[keep], 3).tolist(), rgb)]
        forward = rotation @ world.rotation[frames[-1]][2]
        self._send(
            "preview",
            kind="scene",
            stage=stage,
            path=np.round(path, 4).tolist(),
            forward=np.round(forward, 4).tolist(),
            points=points,
        )

    def _keypoints(self, frame: int, xy: np.ndarray, nearness: np.ndarray) -> None:
        step = max(1, -(-len(xy) // MAX_POINTS))
        rows = [
            [x, y, None if n != n else n]
            for (x, y), n in zip(np.round(xy[::step], 1).tolist(), np.round(nearness[::step], 2).tolist())
        ]
        self._send("preview", kind="keypoints", frame=int(frame), points=rows)


def map_nearness(depth: DepthMap, xy: np.ndarray, width: int, height: int) -> np.ndarray:
    """Nearness 0..1 (n,) of a depth map at xy (n, 2) px of a width x height picture (nearest texel); NaN where unknown."""
    h, w = depth.values.shape
    values = depth.values if depth.kind == "disparity" else 1.0 / np.where(depth.values > 0, depth.values, np.nan)
    low, high = np.nanpercentile(values, [3, 97])
    column = np.clip((xy[:, 0] * w / width).astype(int), 0, w - 1)
    row = np.clip((xy[:, 1] * h / height).astype(int), 0, h - 1)
    return np.clip((values[row, column] - low) / max(high - low, 1e-12), 0.0, 1.0)


def stretch(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Values (n,) stretched so that those `among` (n,) bool span 0..1, a few outliers cut off."""
    chosen = values[among] if among.any() else values
    if not len(chosen):
        return values.copy()
    low, high = np.percentile(chosen, [3, 97])
    return np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)
