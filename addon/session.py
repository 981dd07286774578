# SPDX-License-Identifier: GPL-3.0-or-later
"""The solves of this Blender session: started, listened to by a timer within a time budget, imported when done, ended with
Blender.
"""

from __future__ import annotations

import atexit
import contextlib
import re
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import bpy

from . import events, following, importer, job, jobfolder, overlay, preferences, properties, solver_process

TICK_S = 0.1
BUDGET_S = 0.004  # of Blender's main thread, per job and tick


@dataclass
class ShotJob:
    """A solve and the clip and scene it is for (by name and id: references to Blender's data do not survive undo)."""

    solver: job.SolverJob
    clip_name: str
    uid: str
    scene_name: str
    scene_setup: str
    message: str = ""  # what went wrong after the solver was done
    imported: bool = False
    needs_scene: bool = False  # the scene was left as it is and does not fit the clip
    preparing: threading.Thread | None = None  # reads the job folder while Blender goes on
    prepared: importer.Prepared | None = None

    @property
    def busy(self) -> bool:
        """True while solving, and until the scene is built."""
        return self.solver.state.active or self.preparing is not None


slowest_tick_s = 0.0  # the longest this module ever held Blender's main thread while solving: for tests
import_s = 0.0  # how long the last import held it, the step of undo included: for tests

jobs: dict[str, ShotJob] = {}  # the last job of each clip, by the clip's id


def default_folder(clip: bpy.types.MovieClip) -> Path:
    """Where a clip's solve goes: beside the .blend file, or into the temporary folder while that is not saved."""
    name = re.sub(r"[^\w.-]+", "_", Path(clip.name).stem).strip("._") or "clip"
    if bpy.data.filepath:
        return Path(bpy.path.abspath("//")) / "holdfast" / name
    base = preferences.get().cache
    root = Path(bpy.path.abspath(base)) if base else Path(tempfile.gettempdir()) / "holdfast"
    return root / f"{name}-{properties.ensure_uid(clip)}"


def solver_input(clip: bpy.types.MovieClip) -> str:
    """The footage's path as the solver takes it."""
    return str(Path(bpy.path.abspath(clip.filepath)).resolve())


def start(scene: bpy.types.Scene, clip: bpy.types.MovieClip, scene_setup: str = "AUTO", folder: Path | None = None) -> ShotJob:
    """Start a solve of a clip. Raises OSError or ValueError, with what to do, when it cannot even begin."""
    uid = properties.ensure_uid(clip)
    running = jobs.get(uid)
    if running and running.busy:
        raise ValueError("This clip is being solved already")
    if clip.library:
        raise ValueError("This clip is linked from another file: solve it there, or make it local")
    if not Path(solver_input(clip)).is_file():
        raise ValueError(f"The footage {solver_input(clip)} is not there: correct the clip's path")
    own = preferences.get()
    folder = folder or default_folder(clip)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"Cannot write to {folder} ({error.strerror}): save the .blend file where you may write") from None
    python = solver_process.find_python(bpy.path.abspath(own.python) if own.python else "")
    from . import refine  # which needs this module

    settings = properties.solver_settings(clip, own) | refine.solver_extras(clip, folder)
    solver = job.SolverJob(
        solver_process.command_line(python, solver_input(clip), str(folder), settings),
        folder,
        env=solver_process.environment(python),
        cwd=solver_process.solver_root(),
    )
    shot = ShotJob(solver, clip.name, uid, scene.name, scene_setup)
    jobs[uid] = shot
    solver.start()
    return shot


def job_of(clip: bpy.types.MovieClip | None) -> ShotJob | None:
    """The running or last job of a clip in this session."""
    return jobs.get(clip.holdfast.uid) if clip is not None and clip.holdfast.uid else None


def finish(shot: ShotJob) -> None:
    """Import a solve that is done. Trouble ends up in the job's message, for the panel."""
    clip = clip_of(shot)
    scene = bpy.data.scenes.get(shot.scene_name)
    if clip is None or scene is None:
        shot.message = "The clip or the scene was removed while it was being solved"
        return
    try:
        made = importer.import_shot(scene, clip, shot.solver.out_dir, shot.scene_setup, prepared=shot.prepared)
        shot.prepared = None
        overlay.remember(shot.uid, made.shot)
        shot.imported, shot.needs_scene = True, not made.scene_matches
    except jobfolder.JobFolderError as error:
        shot.message = str(error)
    except Exception as error:  # the interface must go on, and the artist be told
        traceback.print_exc()
        shot.message = f"The solve could not be imported: {error}"


# ---- the timer


def listen() -> None:
    """Make sure the timer runs."""
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK_S, persistent=True)


def _tick() -> float | None:
    global slowest_tick_s, import_s
    begun = time.thread_time()
    changed = active = imported = False
    for shot in list(jobs.values()):
        if not shot.busy:
            continue
        if shot.preparing is not None:
            if not shot.preparing.is_alive():
                shot.preparing = None
                following.stop_following(shot.uid)
                import_begun = time.monotonic()
                _import_as_one_step(shot)
                import_s = time.monotonic() - import_begun
                changed = imported = True
                redraw({"UI", "WINDOW"})
        else:
            changed = _listen_to(shot) or changed
        active = active or shot.busy
    if changed:
        _status_text()
        redraw({"UI"})
    if not imported:
        slowest_tick_s = max(slowest_tick_s, time.thread_time() - begun)
    return TICK_S if active else None


def _listen_to(shot: ShotJob) -> bool:
    """Take a running solve's news. True when the panels must be drawn again."""
    picture = shot.solver.picture
    before = picture.keypoints_at, picture.scene_at
    changed = shot.solver.poll(BUDGET_S)
    clip = clip_of(shot)
    if picture.keypoints_at != before[0]:
        if clip is not None:
            following.follow(clip, picture.frame)
        redraw({"WINDOW"}, {"CLIP_EDITOR"})
    if picture.scene_at != before[1]:
        redraw({"WINDOW"}, {"VIEW_3D"})
    if shot.solver.state is job.JobState.DONE:
        limit = clip.holdfast.marker_limit if clip is not None else 0
        shot.preparing = threading.Thread(target=_prepare, args=(shot, limit), name="holdfast-prepare", daemon=True)
        shot.preparing.start()
    elif not shot.solver.state.active:
        following.stop_following(shot.uid)
        redraw({"UI", "WINDOW"})
    return changed


def _prepare(shot: ShotJob, marker_limit: int) -> None:
    """Thread: read and compute what the import needs. Trouble comes up again in the import, where it is told."""
    with contextlib.suppress(Exception):
        shot.prepared = importer.prepare(shot.solver.out_dir, marker_limit)


def clip_of(shot: ShotJob) -> bpy.types.MovieClip | None:
    """The clip of a job; None where it was removed."""
    return next((c for c in bpy.data.movieclips if c.holdfast.uid == shot.uid), None)


def _import_as_one_step(shot: ShotJob) -> None:
    """Import through an operator, which makes it one step of undo."""
    scene = bpy.data.scenes.get(shot.scene_name)
    windows = list(bpy.context.window_manager.windows)
    window = next((w for w in windows if w.scene == scene), windows[0] if windows else None)
    try:
        with bpy.context.temp_override(window=window):
            bpy.ops.holdfast.import_solve("EXEC_DEFAULT", True, uid=shot.uid)
        if shot.imported and scene is not None and scene.camera and scene.camera.get("holdfast_clip") == shot.uid:
            look_through_camera(scene)
    except RuntimeError as error:
        shot.message = shot.message or str(error).strip()


def look_through_camera(scene: bpy.types.Scene) -> None:
    """Have the viewports of a scene look through its camera."""
    for window in bpy.context.window_manager.windows:
        if window.scene == scene:
            for area in window.screen.areas:
                if area.type == "VIEW_3D" and area.spaces.active.region_3d is not None:
                    area.spaces.active.region_3d.view_perspective = "CAMERA"
                    region = next((r for r in area.regions if r.type == "WINDOW"), None)
                    with bpy.context.temp_override(window=window, area=area, region=region):
                        if bpy.ops.view3d.view_center_camera.poll():
                            bpy.ops.view3d.view_center_camera()  # the whole picture


def redraw(regions: set[str], areas: frozenset[str] | set[str] = frozenset({"CLIP_EDITOR", "VIEW_3D"})) -> None:
    """Have regions of the Clip editors and 3D viewports drawn again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in areas:
                for region in area.regions:
                    if region.type in regions:
                        region.tag_redraw()


def progress_text(solver: job.SolverJob) -> str:
    """One line: the stage, how far it is, time left."""
    if solver.state is job.JobState.CANCELLING:
        return "Cancelling"
    if solver.state is job.JobState.DONE:
        return "Building the scene"
    text = events.stage_label(solver.stage)
    if solver.total > 0:
        text += f" {int(solver.done)}/{int(solver.total)}"
    left = events.time_left_text(solver.eta_s)
    return f"{text}, {left}" if left else text


def _status_text() -> None:
    running = next((s for s in jobs.values() if s.busy), None)
    text = f"Holdfast: {progress_text(running.solver)} ({round(100 * running.solver.fraction)} %)" if running else None
    for window in bpy.context.window_manager.windows:
        window.workspace.status_text_set(text)


def kill_all() -> None:
    """End every solve now."""
    for shot in jobs.values():
        shot.solver.kill()


def wait_for(shot: ShotJob, on_change=None, limit_s: float | None = None) -> job.JobState:
    """Listen until a job has ended, then import it: the way without timers."""
    begun = time.monotonic()

    def changed(solver: job.SolverJob) -> None:
        if on_change:
            on_change(solver)
        if limit_s is not None and time.monotonic() - begun > limit_s:
            solver.cancel()

    state = shot.solver.wait(changed)
    if state is job.JobState.DONE:
        finish(shot)
    return state


def register() -> None:
    atexit.register(kill_all)


def unregister() -> None:
    atexit.unregister(kill_all)
    kill_all()
    jobs.clear()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    for window in bpy.context.window_manager.windows:
        if window.workspace:
            window.workspace.status_text_set(None)
