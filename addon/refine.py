# SPDX-License-Identifier: GPL-3.0-or-later
"""Refining a clip's solve in the solver's process: what the artist changed goes out as files, the result comes back as always."""

from __future__ import annotations

import json
from pathlib import Path

import bpy

from . import (
    clip_frames,
    importer,
    job,
    jobfolder,
    mask_pictures,
    preferences,
    properties,
    session,
    solver_process,
    track_edits,
    user_tracks,
)


def solver_extras(clip: bpy.types.MovieClip, folder: Path) -> dict:
    """Further settings of a solve, as files in its folder: the mask drawn in Blender and the artist's tracks.

    Raises ValueError with what to do.
    """
    own = clip.holdfast_refine
    out: dict = {}
    if own.mask is not None:
        out["mask"] = str(draw_mask(clip, folder, *_range(clip)))
    if own.use_user_tracks and user_tracks.own_of_artist(clip):
        path = folder / "user_tracks.json"
        if user_tracks.write(clip, own.user_weight, path):
            out["user_tracks"] = str(path)
    return out


def _range(clip: bpy.types.MovieClip) -> tuple[int, int]:
    """First and last image (the clip's numbers) that a solve looks at."""
    numbering, own = clip_frames.numbering_of(clip), clip.holdfast
    first = numbering.first + clip.frame_offset
    last = numbering.first + clip.frame_offset + max(1, clip.frame_duration) - 1
    if own.use_range:
        first, last = max(first, numbering.number_at(own.start)), min(last, numbering.number_at(own.end))
    return first, max(first, last)


def draw_mask(clip: bpy.types.MovieClip, folder: Path, first: int, last: int) -> Path:
    """Draw the clip's mask for images first to last; returns the folder of pictures. Raises ValueError."""
    own = clip.holdfast_refine
    target = folder / "masks"
    try:
        mask_pictures.write(clip, own.mask, list(range(first, last + 1)), target, own.mask_covers)
    except mask_pictures.MaskError as error:
        raise ValueError(str(error)) from None
    return target


def command_line(python: str, folder: Path, options: list[str], threads: int = 0) -> list[str]:
    """The solver's command line."""
    command = [python, "-m", "solver", "refine", str(folder), "--events", *options]
    return [*command, f"--threads={threads}"] if threads else command


def start(
    scene: bpy.types.Scene, clip: bpy.types.MovieClip, again: bool = False, frames: tuple[int, int] | None = None
) -> session.ShotJob:
    """Start refining a clip's solve with what the artist changed. frames: scene frames to track and solve again.

    Raises OSError or ValueError, with what to do, when it cannot even begin.
    """
    uid = properties.ensure_uid(clip)
    running = session.jobs.get(uid)
    if running and running.busy:
        raise ValueError("This clip is being solved already")
    if clip.library:
        raise ValueError("This clip is linked from another file: refine it there, or make it local")
    folder = importer.job_folder_of(clip)
    try:
        shot = jobfolder.read_shot(folder)
    except jobfolder.JobFolderError as error:
        raise ValueError(f"{error}. Solve the clip first") from None
    own = preferences.get()
    python = solver_process.find_python(bpy.path.abspath(own.python) if own.python else "")
    options = _options(clip, shot, folder, again, frames)
    solver = job.SolverJob(
        command_line(python, folder, options, own.threads),
        folder,
        env=solver_process.environment(python),
        cwd=solver_process.solver_root(),
    )
    made = session.ShotJob(solver, clip.name, uid, scene.name, "KEEP")
    session.jobs[uid] = made
    solver.start()
    return made


def _options(
    clip: bpy.types.MovieClip, shot: jobfolder.Shot, folder: Path, again: bool, frames: tuple[int, int] | None
) -> list[str]:
    """The options of `refine`; files that go with them are written into the job folder."""
    own = clip.holdfast_refine
    options = []
    edits = track_edits.read_edits(clip, shot)
    if edits:
        path = folder / "refine_tracks.json"
        path.write_text(json.dumps(edits.as_document()), encoding="utf-8")
        options.append(f"--tracks={path}")
    had = bool(shot.data.get("user_tracks"))
    if had or (own.use_user_tracks and user_tracks.own_of_artist(clip)):
        path = folder / "user_tracks.json"
        if own.use_user_tracks:
            user_tracks.write(clip, own.user_weight, path)
        else:
            path.write_text('{"tracks": []}', encoding="utf-8")
        options.append(f"--user-tracks={path}")
    if frames is not None:
        numbering = clip_frames.numbering_of(clip)
        first, last = numbering.number_at(frames[0]), numbering.number_at(frames[1])
        options += ["--range", str(first), str(last), f"--clip={session.solver_input(clip)}"]
    elif again:
        options.append("--again")
    if own.mask is not None:
        first, last = _range(clip)
        solved = int(shot.numbers[0]), int(shot.numbers[-1])
        if frames is not None:  # a few frames around the part are tracked along
            numbering = clip_frames.numbering_of(clip)
            solved = min(solved[0], numbering.number_at(frames[0])), max(solved[1], numbering.number_at(frames[1]))
        options.append(f"--mask={draw_mask(clip, folder, max(first, solved[0]), min(last, solved[1]))}")
    elif clip.holdfast.mask:
        options.append(f"--mask={bpy.path.abspath(clip.holdfast.mask)}")
    return options
