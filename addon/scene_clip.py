# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes onto the clip itself: lens and distortion, and the solver's tracks as markers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from . import clip_frames, jobfolder

PATTERN_PX = 9  # side of the squares that show tracks: the solver's own patches are small, and hundreds must not hide the footage
TRACK_PREFIX = "HF."  # tracks have no custom properties: the name tells whose they are


def set_clip_lens(clip: bpy.types.MovieClip, shot: jobfolder.Shot, sensor_mm: float) -> None:
    """Sensor, focal length, principal point, pixel aspect and distortion of the clip's camera (the middle frame's, where
    they vary).
    """
    fx, fy, cx, cy = shot.intrinsics[shot.middle]
    camera = clip.tracking.camera
    camera.sensor_width = sensor_mm
    camera.pixel_aspect = fy / fx
    camera.units = "PIXELS"
    camera.focal_length_pixels = fx
    camera.units = "MILLIMETERS"
    camera.principal_point_pixels = (cx, shot.height - cy)
    camera.distortion_model = "POLYNOMIAL"
    camera.k1, camera.k2, camera.k3 = shot.k1, shot.k2, 0.0


def own_tracks(clip: bpy.types.MovieClip) -> list[bpy.types.MovieTrackingTrack]:
    """The tracks Holdfast wrote."""
    return [track for track in clip.tracking.tracks if track.name.startswith(TRACK_PREFIX)]


@dataclass(frozen=True)
class TrackChoice:
    """The tracks that go onto the clip: numbers (n,), their rows in the shot's observations, and errors (n,) px, NaN unknown."""

    numbers: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    error_px: np.ndarray
    worst_px: float


def choose(shot: jobfolder.Shot, limit: int) -> TrackChoice:
    """Choose the tracks to write: the longest `limit`, static ones first. Nothing of Blender is touched."""
    chosen = choose_tracks(shot, limit)
    if not len(chosen):
        return TrackChoice(chosen, chosen, chosen, np.zeros(0), 1.0)
    errors = np.full(int(max(chosen.max(), shot.points.track.max(initial=0))) + 1, np.nan)
    valid = shot.points.track >= 0
    errors[shot.points.track[valid]] = shot.points.error_px[valid]
    known = errors[np.isfinite(errors)]
    worst = max(1e-6, float(np.quantile(known, 0.95))) if len(known) else 1.0
    ordered = shot.tracks.track
    return TrackChoice(
        chosen,
        np.searchsorted(ordered, chosen, side="left"),
        np.searchsorted(ordered, chosen, side="right"),
        errors[chosen],
        worst,
    )


def write_tracks(clip: bpy.types.MovieClip, shot: jobfolder.Shot, choice: TrackChoice) -> int:
    """Write the solver's tracks as markers; earlier ones of ours go. Returns how many."""
    remove_tracks(clip)
    if not len(choice.numbers):
        return 0
    tracks = shot.tracks
    # One pass over all observations: scene numbers and places of every marker, y up.
    marker_frames = clip_frames.numbering_of(clip).marker_frame(tracks.number)
    places = tracks.xy / (shot.width, shot.height)
    places[:, 1] = 1.0 - places[:, 1]
    written = 0
    spare = list(own_tracks(clip))  # those that could not be removed are used again
    settings = clip.tracking.settings
    sizes = settings.default_pattern_size, settings.default_search_size
    settings.default_pattern_size, settings.default_search_size = PATTERN_PX, 2 * PATTERN_PX
    for number, start, end, error in zip(
        choice.numbers.tolist(), choice.starts.tolist(), choice.ends.tolist(), choice.error_px.tolist()
    ):
        start += int(np.searchsorted(marker_frames[start:end], 1))  # images the clip's frame offset skips
        if start >= end:
            continue
        frames = marker_frames[start:end].tolist()
        track = _emptied(spare.pop()) if spare else clip.tracking.tracks.new(name="", frame=frames[0])
        label = int(tracks.label[number]) if number < len(tracks.label) else 0
        track.name = f"{TRACK_PREFIX}{number:05d}"
        track.select = track.select_anchor = track.select_pattern = track.select_search = False
        write_markers(track, frames, places[start:end].tolist())
        _colour(track, label, None if error != error else error, choice.worst_px)
        written += 1
    settings.default_search_size, settings.default_pattern_size = sizes[1], sizes[0]
    for track in spare:
        track.hide = True
    return written


def choose_tracks(shot: jobfolder.Shot, limit: int) -> np.ndarray:
    """Numbers of the tracks to show: static ones with a point first, then by length, (limit,) ascending."""
    tracks = shot.tracks
    if tracks is None or limit <= 0 or not len(tracks.track):
        return np.zeros(0, int)
    lengths = np.bincount(tracks.track, minlength=len(tracks.label))
    rank = lengths + 1e6 * ((tracks.label == 0) & (tracks.point >= 0))
    rank = np.where(lengths >= 2, rank, -1)
    order = np.argsort(-rank, kind="stable")[:limit]
    return np.sort(order[rank[order] > 0])


def remove_tracks(clip: bpy.types.MovieClip) -> None:
    """Remove the tracks Holdfast wrote. Only an operator can."""
    own = own_tracks(clip)
    if not own:
        return
    # By name: references to tracks do not survive the removal of others.
    selected = {track.name: track.select for track in clip.tracking.tracks if not track.name.startswith(TRACK_PREFIX)}
    with clip_editor(clip) as override:
        if override is None:
            return
        for name in selected:
            clip.tracking.tracks[name].select = False
        for track in own:
            track.hide, track.lock, track.select = False, False, True
            track.select_anchor = track.select_pattern = track.select_search = True
        with bpy.context.temp_override(**override):
            if bpy.ops.clip.delete_track.poll():
                bpy.ops.clip.delete_track(confirm=False)
    for name, select in selected.items():
        if name in clip.tracking.tracks:
            clip.tracking.tracks[name].select = select


@contextlib.contextmanager
def clip_editor(clip: bpy.types.MovieClip) -> Iterator[dict | None]:
    """A context (for `temp_override`) in which the clip's operators work: an area is a Clip editor for a moment. None
    without any area.
    """
    place = _some_area()
    if place is None:
        yield None
        return
    window, area = place
    before = area.type
    area.type = "CLIP_EDITOR"
    space = area.spaces.active
    old_clip, old_mode = space.clip, space.mode
    try:
        space.clip = clip
        space.mode = "TRACKING"
        clip.tracking.objects.active = clip.tracking.objects[0]
        region = next((r for r in area.regions if r.type == "WINDOW"), None)
        yield {"window": window, "area": area, "region": region, "space_data": space}
    finally:
        space.mode = old_mode
        if old_clip is not None:
            space.clip = old_clip
        if area.type != before:
            area.type = before


def _some_area() -> tuple[bpy.types.Window, bpy.types.Area] | None:
    """A window and area to work in: a Clip editor if there is one, else any that is not the one under the mouse."""
    windows = list(bpy.context.window_manager.windows)
    areas = [(window, area) for window in windows for area in window.screen.areas]
    for window, area in areas:
        if area.type == "CLIP_EDITOR":
            return window, area
    for window, area in areas:
        if area.type in {"PROPERTIES", "OUTLINER", "DOPESHEET_EDITOR", "TEXT_EDITOR", "INFO"}:
            return window, area
    return areas[0] if areas else None


def _emptied(track: bpy.types.MovieTrackingTrack) -> bpy.types.MovieTrackingTrack:
    """A track of ours with all markers gone but one (Blender keeps at least one)."""
    for frame in [marker.frame for marker in track.markers][1:]:
        track.markers.delete_frame(frame)
    track.hide = False
    return track


def write_markers(track: bpy.types.MovieTrackingTrack, frames: list[int], places: list) -> None:
    """Set a track's markers: places are fractions of the image, y up. Every gap is closed off by a disabled marker."""
    markers = track.markers
    insert = markers.insert_frame
    known = set(frames)
    for marker_frame in [marker.frame for marker in markers]:
        if marker_frame not in known and len(markers) > 1:
            markers.delete_frame(marker_frame)
    for frame, place in zip(frames, places):
        # Inserting may move all markers in memory: no reference to one is kept.
        insert(frame, co=place).mute = False
    for i, (frame, following) in enumerate(zip(frames, [*frames[1:], None])):
        if following != frame + 1:
            insert(frame + 1, co=places[i]).mute = True


def _colour(track: bpy.types.MovieTrackingTrack, label: int, error_px: float | None, worst_px: float) -> None:
    """Green to red by error; movers blue, unreliable grey."""
    track.use_custom_color = True
    if label == 1:
        track.color = (0.1, 0.3, 1.0)
    elif label == 2 or error_px is None:
        track.color = (0.45, 0.45, 0.45)
    else:
        part = min(1.0, error_px / worst_px)
        track.color = (min(1.0, 2.0 * part), min(1.0, 2.0 * (1.0 - part)), 0.1)
