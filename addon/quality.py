# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a solve's quality: errors of frames and tracks, the worst of them, a graph in words."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from . import clip_frames, coordinates, following, jobfolder, scene_clip

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class TrackError:
    """A track and its RMS distance from where the solved camera sees its point."""

    number: int
    error_px: float
    first: int  # clip frame numbers
    last: int
    worst: int


_MEANING = {
    "good": "Props will hold fast.",
    "usable": "Props will hold fast over most of the shot; look at the worst frames.",
    "weak": "Props may slip: put them near tracked points and run the lock test.",
    "failed": "No camera was found: see what to change below.",
}


def explain(status: str, statements: str, warnings: str) -> str:
    """The verdict for somebody who only wants to know whether to go on: what it means, and the first thing to mind."""
    meaning = _MEANING.get(status, "")
    mind = next(filter(None, warnings.split("\n")), "")
    if not mind and status != "good":
        mind = next(filter(None, statements.split("\n")), "")
    return f"{meaning} {mind}".strip()


def worst_frames(shot: jobfolder.Shot, count: int = 5) -> list[tuple[int, float]]:
    """(clip frame number, error in px) of the worst frames, the worst first; no two of them close together."""
    left = shot.error_px.astype(float).copy()
    apart = max(1, len(left) // 20)
    out = []
    while len(out) < count and np.isfinite(left).any() and np.nanmax(left) > 0:
        index = int(np.nanargmax(left))
        out.append((int(shot.numbers[index]), float(shot.error_px[index])))
        left[max(0, index - apart) : index + apart + 1] = np.nan
    return out


def graph(shot: jobfolder.Shot, columns: int = 36) -> str:
    """The error over the shot as a row of bars: a picture for a label."""
    if not len(shot.error_px) or shot.error_px.max() <= 0:
        return ""
    parts = np.array_split(shot.error_px, min(columns, len(shot.error_px)))
    values = np.array([part.max() for part in parts]) / shot.error_px.max()
    return "".join(_BARS[min(7, int(8 * value))] for value in values)


def track_errors(shot: jobfolder.Shot) -> list[TrackError]:
    """Errors of all tracks that became points, the worst first. Nothing of Blender is touched."""
    tracks = shot.tracks
    if tracks is None or not len(tracks.track) or not len(shot.points.xyz):
        return []
    point_of = np.full(int(max(tracks.track.max(), shot.points.track.max())) + 1, -1)
    valid = np.flatnonzero(shot.points.track >= 0)
    point_of[shot.points.track[valid]] = valid
    at = np.searchsorted(shot.numbers, tracks.number).clip(0, len(shot.numbers) - 1)
    rows = np.flatnonzero((point_of[tracks.track] >= 0) & (shot.numbers[at] == tracks.number))
    # all observations at once: the point in its frame's camera
    camera = shot.c2w[at[rows]]
    local = np.einsum("mji,mj->mi", camera[:, :3, :3], shot.points.xyz[point_of[tracks.track[rows]]] - camera[:, :3, 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = np.where(local[:, 2:] > 1e-12, local[:, :2] / local[:, 2:], np.nan)
    lens = shot.intrinsics[at[rows]]
    pixels = coordinates.distort(normal, shot.k1, shot.k2) * lens[:, :2] + lens[:, 2:]
    error2 = ((pixels - tracks.xy[rows]) ** 2).sum(1)
    rows, error2 = rows[np.isfinite(error2)], error2[np.isfinite(error2)]
    if not len(rows):
        return []
    order = np.argsort(tracks.track[rows], kind="stable")
    rows, error2 = rows[order], error2[order]
    number, begin = np.unique(tracks.track[rows], return_index=True)
    count = np.diff(np.r_[begin, len(rows)])
    rms = np.sqrt(np.add.reduceat(error2, begin) / count)
    frame = tracks.number[rows]
    first, last = np.minimum.reduceat(frame, begin), np.maximum.reduceat(frame, begin)
    # the worst observation of each track: the last one once its rows are sorted by error
    worst = frame[np.lexsort((error2, np.repeat(np.arange(len(number)), count)))[begin + count - 1]]
    table = sorted(zip(rms.tolist(), number.tolist(), first.tolist(), last.tolist(), worst.tolist()), key=lambda t: (-t[0], t[1]))
    return [TrackError(n, e, a, b, w) for e, n, a, b, w in table]


def show_track(scene: bpy.types.Scene, clip: bpy.types.MovieClip, error: TrackError) -> bpy.types.MovieTrackingTrack | None:
    """Go to a track's worst frame and select it alone on the clip; None where it was not written there."""
    following.show_frame(scene, clip_frames.numbering_of(clip).scene_frame(error.worst))
    return select_track(clip, f"{scene_clip.TRACK_PREFIX}{error.number:05d}")


def select_track(clip: bpy.types.MovieClip, name: str) -> bpy.types.MovieTrackingTrack | None:
    """Select a track alone on the clip; None where there is no such track."""
    track = clip.tracking.tracks.get(name)
    if track is None:
        return None
    for other in clip.tracking.tracks:
        other.select = False
    track.hide, track.select = False, True
    clip.tracking.tracks.active = track
    return track
