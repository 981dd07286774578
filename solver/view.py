"""From tracks to problems: choosing frames and tracks, sampling depth at keypoints, and the state of the whole shot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from .bundle_model import MIN_RHO, Observations, Unknowns
from .elongation import sharpening
from .track_motion import motion
from .types import DepthMap, Tracks

PACE_FRAMES = 3  # that tell how a camera moves where it is last known
COASTING_FRAMES = 6.0  # worth of that motion, which it goes on by before it comes to rest
POINTS_TOGETHER = 256  # some windows of the adjustment's
WHIP_STEP = 0.05  # of the picture's width from one frame to the next
# Below this a track's own estimate of its error is too hopeful (interpolation, lighting, compression).
SIGMA_FLOOR_PX = 0.08


@dataclass(frozen=True)
class Problem:
    """A part of the shot: observations with compact numbers, and what they stand for."""

    obs: Observations
    frames: np.ndarray  # (F',) frame index of each camera
    tracks: np.ndarray  # (P',) track of each point
    rows: np.ndarray  # (M',) row of each observation in the shot's tracks
    keys: np.ndarray  # (K',) frame index of each keyframe with depth


def sample_map(values: np.ndarray, xy: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bilinear values of a map (h, w) that spans a width x height image, at xy (n, 2) px (first pixel centre 0.5)."""
    h, w = values.shape
    x = (xy[:, 0] * w / width - 0.5).astype(np.float32)
    y = (xy[:, 1] * h / height - 0.5).astype(np.float32)
    if not len(x):  # a picture that nothing was followed into, as in the middle of a whip
        return np.zeros(0)
    return cv2.remap(values.astype(np.float32), x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0].astype(
        np.float64
    )


def disparity_span(values: np.ndarray) -> float:
    """What a disparity map is divided by, so that its values span about 1."""
    low, high = np.nanpercentile(values, [5, 95])
    return max(float(high - low), 1e-12)


class ShotView:
    """Tracks, seen as least-squares material. Pixels are taken from the principal point."""

    def __init__(
        self,
        tracks: Tracks,
        width: int,
        height: int,
        depth_maps: dict[int, DepthMap],
        principal: tuple[float, float] | None = None,
        pixel_aspect: float = 1.0,
    ) -> None:
        self.tracks, self.width, self.height = tracks, width, height
        self.centre = np.array(principal if principal is not None else (width / 2, height / 2))
        self.pixel_aspect = pixel_aspect
        self.frame_count = len(tracks.frame_numbers)
        # pixels that are not square: rows are brought to the columns' unit, so that one focal length serves both
        self.xy = (tracks.xy - self.centre) / np.array([1.0, pixel_aspect])
        self.sigma = np.hypot(SIGMA_FLOOR_PX, tracks.sigma_px.astype(np.float64))
        self.sharpen = sharpening(tracks.elongation, pixel_aspect)
        self.keys = sorted(depth_maps)
        self.depth_kind = depth_maps[self.keys[0]].kind if self.keys else "depth"
        self.depth_is_log = self.depth_kind != "disparity"
        m = len(tracks.track)
        self.depth_value = np.full(m, np.nan)
        self.depth_weight = np.ones(m)
        self.by_frame = np.argsort(tracks.frame_index, kind="stable")
        self.frame_bounds = np.searchsorted(tracks.frame_index[self.by_frame], np.arange(self.frame_count + 1))
        for f, depth in depth_maps.items():
            rows = self.rows_of(f)
            value = sample_map(depth.values, tracks.xy[rows], width, height)
            if depth.kind != "disparity":
                value = np.log(np.where(value > 0, value, np.nan))
            else:
                value = value / disparity_span(depth.values)
            self.depth_value[rows] = value
            if depth.confidence is not None:
                self.depth_weight[rows] = np.clip(sample_map(depth.confidence, tracks.xy[rows], width, height), 0.02, 1)
        self.row_shift, self.row_bend = self._while_read()
        self.weight: np.ndarray | None = None  # (M,) see Observations.weight; set where the user's own tracks take part
        self.trusted = np.zeros(tracks.track_count, bool)  # the user's word that these are at rest
        self.depth_term = True  # whether adjustments may rest on the depth maps at all

    def rows_of(self, frame: int) -> np.ndarray:
        """Observations of one frame."""
        return self.by_frame[self.frame_bounds[frame] : self.frame_bounds[frame + 1]]

    def rows_between(self, first: int, last: int) -> np.ndarray:
        """Observations of these frames and all between them."""
        return self.by_frame[self.frame_bounds[first] : self.frame_bounds[last + 1]]

    def away_from_mean(self, rows: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Of each of these observations the distance (px) from its track's mean place over all of them, and the number that each
        track (N,) has of them."""
        track, xy, count = self.tracks.track[rows], self.xy[rows], self.tracks.track_count
        views = np.bincount(track, minlength=count)
        mean = np.stack([np.bincount(track, xy[:, k], minlength=count) for k in (0, 1)], 1) / np.maximum(views, 1)[:, None]
        return np.hypot(*(xy - mean[track]).T), views

    def median_steps(self) -> np.ndarray:
        """(F,) median motion of the tracks from the frame before, px."""
        return self.steps(0.5)

    def steps(self, quantile: float) -> np.ndarray:
        """(F,) motion from the frame before, px, that this share of the tracks stays below."""
        return np.array([np.quantile(step, quantile) if len(step) else 0.0 for step in self._steps])

    @cached_property
    def _steps(self) -> list[np.ndarray]:
        """Of each frame the motion of each of its tracks from the frame before, px."""
        t = self.tracks
        linked = np.nonzero((t.track[1:] == t.track[:-1]) & (np.diff(t.frame_index) == 1))[0]
        step = np.hypot(*(t.xy[linked + 1] - t.xy[linked]).T)
        frame = t.frame_index[linked + 1]
        order = np.argsort(frame, kind="stable")
        return np.split(step[order], np.searchsorted(frame[order], np.arange(1, self.frame_count)))

    @cached_property
    def racing(self) -> np.ndarray:
        """(F,) bool: frames into which the picture has moved as fast as in a whip pan."""
        return self.median_steps() > WHIP_STEP * self.width

    def _while_read(self) -> tuple[np.ndarray, np.ndarray]:
        """What the image moves by (M, 2) while a sensor is read down to each observation's row, where the middle row stands for
        the frame: by its velocity, per unit of row time, and less by its acceleration, per square of it."""
        t = self.tracks
        velocity, acceleration = motion(t.track, t.frame_index, t.xy / [1.0, self.pixel_aspect])
        place = t.xy[:, 1:] / self.height - 0.5
        # the velocity is that of when the row was read, not of the frame's own time: hence the sign
        return velocity * place, acceleration * place**2 / 2

    def problem(self, frames: np.ndarray, tracks: np.ndarray, *, min_views: int = 2, depth: bool = True) -> Problem:
        """Observations of the given tracks (N,) bool in the given frames (ascending indices).

        Points that are seen by the same frames are neighbours: an adjustment takes them in portions.
        """
        cam_of = np.full(self.frame_count, -1)
        cam_of[frames] = np.arange(len(frames))
        t = self.tracks
        rows = np.nonzero((cam_of[t.frame_index] >= 0) & tracks[t.track])[0]
        views = np.bincount(t.track[rows], minlength=t.track_count)
        rows = rows[views[t.track[rows]] >= min_views]
        rows, kept, point = self._by_place_in_time(rows)
        cam = cam_of[t.frame_index[rows]]
        each = self.xy[rows], self.sigma[rows], self.row_shift[rows]
        obs = Observations.without_depth(cam, point, *each, len(frames), len(kept), self.sharpen.take(rows, axis=2))
        obs = replace(obs, row_bend=self.row_bend[rows])
        if self.weight is not None:
            obs = replace(obs, weight=self.weight[rows])
        keys = np.array([k for k in self.keys if cam_of[k] >= 0], int) if depth and self.depth_term else np.zeros(0, int)
        if len(keys):
            key_of = np.full(self.frame_count, -1)
            key_of[keys] = np.arange(len(keys))
            at = np.nonzero((key_of[t.frame_index[rows]] >= 0) & np.isfinite(self.depth_value[rows]))[0]
            obs = replace(
                obs,
                depth_obs=at,
                depth_key=key_of[t.frame_index[rows[at]]],
                depth_value=self.depth_value[rows[at]],
                depth_weight=self.depth_weight[rows[at]],
                depth_is_log=self.depth_is_log,
                key_count=len(keys),
            )
        return Problem(obs, np.asarray(frames), kept, rows, keys)

    def _by_place_in_time(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows (M',) of the tracks, ascending; the tracks (P',), some hundred that end in about the same frames after the
        other, those of them in the order in which they begin, so that neighbours live about as long; which of those each row
        is of (M',)."""
        track, frame = self.tracks.track[rows], self.tracks.frame_index[rows]
        begins = np.flatnonzero(np.diff(track, prepend=-1))
        length = np.diff(begins, append=len(rows))
        together = int(np.ceil(POINTS_TOGETHER * self.frame_count / max(len(begins), 1)))  # frames
        order = np.lexsort((frame[begins], frame[begins + length - 1] // together))
        begins, length = begins[order], length[order]
        point = np.repeat(np.arange(len(order)), length)
        place = np.arange(len(rows)) + np.repeat(begins - (np.cumsum(length) - length), length)
        return rows[place], track[begins], point


@dataclass
class World:
    """Cameras of all frames and points of all tracks, as far as they are known."""

    rotation: np.ndarray  # (F, 3, 3)
    translation: np.ndarray  # (F, 3)
    log_focal: np.ndarray  # (F,)
    registered: np.ndarray  # (F,) bool
    direction: np.ndarray  # (N, 3)
    rho: np.ndarray  # (N,)
    origin: np.ndarray  # (N, 3)
    known: np.ndarray  # (N,) bool: the track has a point
    k1: float = 0.0
    k2: float = 0.0
    row_time: float = 0.0
    key_scale: dict[int, float] = field(default_factory=dict)
    key_shift: dict[int, float] = field(default_factory=dict)

    @staticmethod
    def blank(frames: int, tracks: int, focal_px: float) -> World:
        """Nothing known but a focal length."""
        eye = np.eye(3)
        return World(
            np.tile(eye, (frames, 1, 1)),
            np.zeros((frames, 3)),
            np.full(frames, np.log(focal_px)),
            np.zeros(frames, bool),
            np.tile(eye[2], (tracks, 1)),
            np.ones(tracks),
            np.zeros((tracks, 3)),
            np.zeros(tracks, bool),
        )

    def copy(self) -> World:
        """An independent copy."""
        return World(**{k: (v.copy() if hasattr(v, "copy") else v) for k, v in self.__dict__.items()})

    def carry_over(self, frame: int, known: np.ndarray) -> None:
        """A frame's camera from the known ones (K,) ascending, one at least: evenly from the nearest before to the nearest after
        it; before the first and after the last at their pace, which dies away."""
        from scipy.spatial.transform import Rotation

        if known[0] < frame < known[-1]:
            a, b = int(known[known < frame].max()), int(known[known > frame].min())
            s = (frame - a) / (b - a)
        else:
            a = int(known[np.argmin(np.abs(known - frame))])
            inside = known[(np.abs(known - a) <= PACE_FRAMES) & (known != a)]
            b = int(inside[np.argmax(np.abs(inside - a))]) if len(inside) else a
            away = COASTING_FRAMES * (1 - np.exp(-abs(frame - a) / COASTING_FRAMES))
            s = -away / max(abs(b - a), 1)
        turn = Rotation.from_matrix(self.rotation[b] @ self.rotation[a].T).as_rotvec()
        rotation = Rotation.from_rotvec(s * turn).as_matrix() @ self.rotation[a]
        centre = (1 - s) * self.centre(a) + s * self.centre(b)
        self.rotation[frame], self.translation[frame] = rotation, -rotation @ centre
        self.log_focal[frame] = (1 - s) * self.log_focal[a] + s * self.log_focal[b]

    def gather(self, p: Problem, is_log: bool) -> Unknowns:
        """The unknowns of a problem."""
        f, n = p.frames, p.tracks
        scale = np.array([self.key_scale.get(int(k), 0.0 if is_log else 1.0) for k in p.keys])
        shift = np.array([self.key_shift.get(int(k), 0.0) for k in p.keys])
        return Unknowns(
            self.rotation[f],
            self.translation[f],
            self.log_focal[f],
            self.k1,
            self.k2,
            self.row_time,
            self.direction[n],
            self.rho[n],
            self.origin[n],
            scale,
            shift,
        )

    def scatter(self, p: Problem, x: Unknowns) -> None:
        """Take a problem's unknowns back."""
        f, n = p.frames, p.tracks
        self.rotation[f], self.translation[f], self.log_focal[f] = x.rotation, x.translation, x.log_focal
        self.direction[n], self.rho[n], self.origin[n] = x.direction, x.rho, x.origin
        self.k1, self.k2, self.row_time = x.k1, x.k2, x.row_time
        for i, k in enumerate(p.keys):
            self.key_scale[int(k)], self.key_shift[int(k)] = float(x.key_scale[i]), float(x.key_shift[i])

    def centre(self, frame: int) -> np.ndarray:
        """(3,) position of a camera."""
        return -self.rotation[frame].T @ self.translation[frame]

    def points(self, tracks: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(n, 3) world positions of the given tracks' points; points at infinity are put far away."""
        return self.origin[tracks] + self.direction[tracks] / np.maximum(self.rho[tracks], MIN_RHO)[:, None]

    def depth_in(self, frame: int, tracks: np.ndarray) -> np.ndarray:
        """Depth of points in a camera; the caller picks known ones."""
        return self.points(tracks) @ self.rotation[frame][2] + self.translation[frame][2]

    def rescale(self, factor: float) -> None:
        """Make the scene factor times as large."""
        self.translation *= factor
        self.origin *= factor
        self.rho /= factor
        self.key_scale = {k: v + 0.0 for k, v in self.key_scale.items()}


def unproject(xy: np.ndarray, focal: float, k1: float, k2: float) -> np.ndarray:
    """Unit rays (n, 3) of px from the principal point (n, 2)."""
    distorted = xy / focal
    u = distorted.copy()
    for _ in range(8 if (k1 or k2) else 0):
        r2 = (u**2).sum(1, keepdims=True)
        u = distorted / np.maximum(1 + r2 * (k1 + r2 * k2), 0.2)
    ray = np.c_[u, np.ones(len(u))]
    return ray / np.linalg.norm(ray, axis=1, keepdims=True)
