"""Blender's own tracker as a peer, as a careful artist would drive it: detect on several frames, track both ways, solve.

    python -m tests.bench.peer_blender CLIP OUT        (an environment with bpy)

The focal length is refined from Blender's default lens; radial distortion too where the solve is poor without it.
Writes OUT/solve.json and OUT/observed.npz as the other peers do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import bpy
import numpy as np

DETECTIONS = 4  # frames on which features are looked for
POOR_ERROR_PX = 0.8
CLEAN_ERROR_PX = 3.0  # tracks worse than this are dropped before the second solve
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera axes from Blender's


class Editor:
    """A clip editor to run operators in, although there is no window."""

    def __init__(self, clip: bpy.types.MovieClip) -> None:
        self.scene = bpy.context.scene
        self.window = bpy.context.window_manager.windows[0]
        self.area = self.window.screen.areas[0]
        self.area.type = "CLIP_EDITOR"
        self.space = self.area.spaces.active
        self.space.clip = clip
        self.space.mode = "TRACKING"
        self.region = next(r for r in self.area.regions if r.type == "WINDOW")

    def call(self, operator, **arguments):
        with bpy.context.temp_override(window=self.window, area=self.area, region=self.region, space_data=self.space):
            return operator(**arguments)

    def go_to(self, frame: int) -> None:
        self.scene.frame_set(frame)
        self.space.clip_user.frame_current = frame


def main(argv: list[str]) -> int:
    """Track and solve one clip; exit code 6 when Blender solves nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    clip = bpy.data.movieclips.load(str(options.clip.resolve()))
    editor = Editor(clip)
    timings = {}
    started = time.monotonic()
    _track(editor, clip)
    timings["tracking"] = time.monotonic() - started
    print(f"tracking: {timings['tracking']:.1f} s, {len(clip.tracking.tracks)} tracks", flush=True)
    started = time.monotonic()
    _solve(editor, clip)
    timings["solving"] = time.monotonic() - started
    solved = clip.tracking.reconstruction.is_valid
    _write(options.out, clip, timings, solved)
    outcome = f"error {clip.tracking.reconstruction.average_error:.2f} px" if solved else "Blender solved nothing"
    print(f"solving: {timings['solving']:.1f} s, {outcome}", flush=True)
    return 0 if solved else 6


def _track(editor: Editor, clip: bpy.types.MovieClip) -> None:
    count = clip.frame_duration
    editor.scene.frame_start, editor.scene.frame_end = 1, count
    settings = clip.tracking.settings
    settings.default_frames_limit = 0
    width = clip.size[0]
    for k in range(DETECTIONS):
        frame = 1 + round((count - 1) * (k + 0.5) / DETECTIONS)
        editor.go_to(frame)
        for track in clip.tracking.tracks:
            track.select = False
        editor.call(bpy.ops.clip.detect_features, threshold=0.1, min_distance=width // 12, margin=16)
        for backwards in (False, True):
            editor.go_to(frame)
            editor.call(bpy.ops.clip.track_markers, backwards=backwards, sequence=True)


def _solve(editor: Editor, clip: bpy.types.MovieClip) -> None:
    settings = clip.tracking.settings
    settings.use_keyframe_selection = True
    settings.refine_intrinsics_focal_length = True
    for radial in (False, True):
        settings.refine_intrinsics_radial_distortion = radial
        try:
            editor.call(bpy.ops.clip.solve_camera)
            if clip.tracking.reconstruction.is_valid:
                editor.call(bpy.ops.clip.clean_tracks, frames=0, error=CLEAN_ERROR_PX, action="DELETE_TRACK")
                editor.call(bpy.ops.clip.solve_camera)
        except RuntimeError as problem:
            print(f"Blender: {str(problem).strip()}", flush=True)
        result = clip.tracking.reconstruction
        if result.is_valid and result.average_error < POOR_ERROR_PX:
            return


def _write(out: Path, clip: bpy.types.MovieClip, timings: dict, solved: bool) -> None:
    camera = clip.tracking.camera
    width, height = clip.size
    frames, observed = [], {}
    cx, cy = camera.principal_point_pixels
    lens = {"k1": camera.k1 if solved else 0.0, "k2": camera.k2 if solved else 0.0}
    for pose in clip.tracking.reconstruction.cameras if solved else ():
        number = pose.frame - 1
        frames.append({
            "frame": number, "c2w": (np.array(pose.matrix) @ FLIP).tolist(), "fx": camera.focal_length_pixels,
            "fy": camera.focal_length_pixels, "cx": cx, "cy": height - cy,
        })  # fmt: skip
        seen = [t.bundle for t in clip.tracking.tracks if t.has_bundle and (m := t.markers.find_frame(pose.frame)) and not m.mute]
        observed[str(number)] = np.array(seen, float).reshape(-1, 3)
    np.savez_compressed(out / "observed.npz", **observed)
    data = {"width": width, "height": height, "camera": lens, "frames": frames, "timings": timings}
    (out / "solve.json").write_text(json.dumps(data))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
