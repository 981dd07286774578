# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to draw over the footage: the live picture of a running solve, and the tracks of a finished one.

No Blender here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import coordinates, jobfolder

# Far to near. Even steps of it are told apart on dark and on bright footage.
_FAR_TO_NEAR = np.array(
    [(0.19, 0.20, 0.72), (0.10, 0.55, 0.95), (0.12, 0.83, 0.72), (0.55, 0.93, 0.25), (0.98, 0.80, 0.15), (0.95, 0.25, 0.10)]
)
UNKNOWN = (0.85, 0.85, 0.85)
MOVER = (0.85, 0.20, 0.95)
UNRELIABLE = (0.45, 0.45, 0.45)


def depth_colours(nearness: np.ndarray) -> np.ndarray:
    """(n, 3) sRGB of nearness (n,): 0 far blue to 1 near red; NaN unknown, below 0 a mover."""
    nearness = np.asarray(nearness, float)
    place = np.clip(np.nan_to_num(nearness), 0.0, 1.0)
    steps = np.linspace(0.0, 1.0, len(_FAR_TO_NEAR))
    out = np.stack([np.interp(place, steps, _FAR_TO_NEAR[:, i]) for i in range(3)], 1)
    out[np.isnan(nearness)] = UNKNOWN
    out[np.nan_to_num(nearness) < 0] = MOVER
    return out


def error_colours(error_px: np.ndarray, worst_px: float) -> np.ndarray:
    """(n, 3) sRGB of errors (n,) px: green to red at worst_px; NaN unknown."""
    part = np.clip(np.nan_to_num(error_px) / max(worst_px, 1e-6), 0.0, 1.0)
    out = np.stack([np.minimum(1.0, 2 * part), np.minimum(1.0, 2 * (1 - part)), np.full(len(part), 0.1)], 1)
    out[np.isnan(error_px)] = UNRELIABLE
    return out


@dataclass
class LivePicture:
    """The preview events of a running solve, as arrays. `keypoints_at` and `scene_at` count the news, for whoever draws."""

    keypoints: dict[int, np.ndarray] = field(default_factory=dict)  # clip frame number -> (n, 3): x, y px, nearness
    frame: int | None = None  # of the latest keypoints
    path: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # OpenCV axes of the first camera, unit: median depth
    forward: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    colours: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    keypoints_at: int = 0
    scene_at: int = 0

    def take(self, data: dict) -> bool:
        """Take a preview event's fields. False, and nothing changes, where they make no sense."""
        try:
            if data.get("kind") == "keypoints":
                rows = np.array(data["points"], float).reshape(-1, 3)  # null becomes NaN
                if not np.isfinite(rows[:, :2]).all():
                    return False
                self.frame = int(data["frame"])
                self.keypoints[self.frame] = rows
                self.keypoints_at += 1
            elif data.get("kind") == "scene":
                path = np.array(data["path"], float).reshape(-1, 3)
                points = np.array(data["points"], float).reshape(-1, 6)
                forward = np.array(data.get("forward", (0.0, 0.0, 1.0)), float).reshape(3)
                if not (np.isfinite(path).all() and np.isfinite(points).all() and np.isfinite(forward).all()):
                    return False
                self.path, self.forward, self.points, self.colours = path, forward, points[:, :3], points[:, 3:] / 255.0
                self.scene_at += 1
            else:
                return False
        except (KeyError, TypeError, ValueError):
            return False
        return True


class SolvedPicture:
    """A finished solve's tracks by frame, each with its error, depth and label. Made once, asked in every redraw."""

    def __init__(self, shot: jobfolder.Shot) -> None:
        self.shot = shot
        self.frame_error = shot.error_px
        self._cache: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}
        tracks = shot.tracks
        if tracks is None or not len(tracks.track):
            self._order = np.zeros(0, int)
            self._starts: dict[int, tuple[int, int]] = {}
            return
        self._order = np.argsort(tracks.number, kind="stable")
        numbers, first = np.unique(tracks.number[self._order], return_index=True)
        ends = np.append(first[1:], len(self._order))
        self._starts = {int(n): (int(a), int(b)) for n, a, b in zip(numbers, first, ends)}
        self._point_of = np.full(max(int(tracks.track.max()) + 1, len(tracks.label)), -1)
        valid = (shot.points.track >= 0) & (shot.points.track < len(self._point_of))
        self._point_of[shot.points.track[valid]] = np.flatnonzero(valid)
        errors = shot.points.error_px
        # Twice this is red: what few good tracks reach. A quantile would follow the outliers.
        self.worst_px = float(max(0.1, 2.5 * np.median(errors))) if len(errors) else 1.0

    def keypoints(self, number: int, colouring: str) -> tuple[np.ndarray, np.ndarray]:
        """Places (n, 2) px and sRGB (n, 3) of a frame's tracks. colouring: DEPTH or ERROR."""
        key = (number, colouring)
        if key not in self._cache:
            if len(self._cache) > 64:
                self._cache.clear()
            self._cache[key] = self._look(number, colouring)
        return self._cache[key]

    def _look(self, number: int, colouring: str) -> tuple[np.ndarray, np.ndarray]:
        shot, tracks = self.shot, self.shot.tracks
        if number not in self._starts:
            return np.zeros((0, 2)), np.zeros((0, 3))
        rows = self._order[slice(*self._starts[number])]
        track = tracks.track[rows]
        label = tracks.label[track]
        point = self._point_of[track]
        has = (point >= 0) & (label == 0)
        index = shot.index_of(number)
        values = np.full(len(rows), np.nan)
        pixels, depth = coordinates.project(
            shot.points.xyz[point[has]], shot.c2w[index], *shot.intrinsics[index], shot.k1, shot.k2
        )
        if colouring == "ERROR":
            values[has] = np.linalg.norm(pixels - tracks.xy[rows[has]], axis=1)
            colours = error_colours(values, 2.0 * self.worst_px)
        else:
            near = 1.0 / np.maximum(depth, 1e-9)
            low, high = np.percentile(near, [3, 97]) if len(near) else (0.0, 1.0)
            values[has] = np.clip((near - low) / max(high - low, 1e-12), 0.0, 1.0)
            colours = depth_colours(values)
        colours[label == 1] = MOVER
        colours[(label != 1) & ~has] = UNRELIABLE
        return tracks.xy[rows], colours
