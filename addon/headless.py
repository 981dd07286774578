# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way without a window, for scripts, the command line and the demo: solve, import, put props in, render, save."""

from __future__ import annotations

from pathlib import Path

import bpy

from . import compat, importer, job, jobfolder, lock_test, preferences, properties, props, scene_objects, solver_process


class SolveFailed(Exception):
    """The solver gave up. code, message and hint are its own."""

    def __init__(self, code: str, message: str, hint: str, exit_code: int) -> None:
        super().__init__(f"{message.rstrip('.')}. {hint}" if hint else message)
        self.code, self.message, self.hint, self.exit_code = code, message, hint, exit_code


def solve_clip(clip_path: str | Path, out_dir: str | Path, settings: dict | None = None, on_change=None) -> Path:
    """Run the solver on a clip and wait. settings: see `solver_process.command_line`. on_change(job) hears of progress.

    Returns the job folder. Raises SolveFailed.
    """
    own = preferences.get()
    python = solver_process.find_python(own.python)
    command = solver_process.command_line(python, str(Path(clip_path).resolve()), str(Path(out_dir).resolve()), settings)
    solver = job.SolverJob(command, out_dir, env=solver_process.environment(python), cwd=solver_process.solver_root())
    solver.start()
    state = solver.wait(on_change)
    if state is not job.JobState.DONE:
        raise SolveFailed(
            solver.code, solver.message, solver.hint, solver.exit_code if solver.exit_code and solver.exit_code > 0 else 1
        )
    return Path(out_dir)


def new_scene(name: str) -> bpy.types.Scene:
    """A fresh scene, made the current one. Blender's own start-up scene goes if nobody has worked in it."""
    scene = bpy.data.scenes.new(name)
    compat.enable_shadows(scene)
    window = bpy.context.window or (bpy.context.window_manager.windows[0] if bpy.context.window_manager.windows else None)
    if window is not None:
        window.scene = scene
    for old in [s for s in bpy.data.scenes if s != scene and s.name == "Scene"]:
        if {ob.name for ob in old.objects} <= {"Camera", "Cube", "Light"} and not bpy.data.filepath:
            for ob in list(old.objects):
                data = ob.data
                bpy.data.objects.remove(ob)
                scene_objects.drop_data(data)
            for collection in list(old.collection.children):
                bpy.data.collections.remove(collection)
            bpy.data.scenes.remove(old)
    return scene


def import_job(
    out_dir: str | Path, clip_path: str | Path | None = None, scene: bpy.types.Scene | None = None
) -> bpy.types.Collection:
    """Import a job folder into a scene (the current one by default) and set the scene to the clip. Returns the clip's collection.

    clip_path: the footage; by default the one solve.json names, relative to the job folder if it was moved along.
    """
    scene = scene or bpy.context.scene
    shot = jobfolder.read_shot(out_dir)
    clip = load_clip(clip_path or find_footage(shot))
    return importer.import_shot(scene, clip, out_dir, scene_setup="SET").collection


def find_footage(shot: jobfolder.Shot) -> Path:
    """The footage of a solve. Raises JobFolderError where it is gone."""
    path = Path(str(shot.clip.get("path", "")))
    for candidate in (path, shot.folder / path, shot.folder / path.name, shot.folder.parent / path.name):
        if candidate.is_file():
            return candidate
        if candidate.is_dir():
            first = sorted(
                p for p in candidate.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr", ".dpx"}
            )
            if first:
                return first[0]
    files = _pattern_files(path)
    if files:
        return files[0]
    raise jobfolder.JobFolderError(f"The footage {path} is not there any more: give its new place")


def _pattern_files(path: Path) -> list[Path]:
    """First files of a sequence given as a pattern (shot.%04d.png, shot.####.png)."""
    import re

    pattern = re.sub(r"%0?\d*d|#+", "*", path.name)
    return sorted(path.parent.glob(pattern)) if "*" in pattern and path.parent.is_dir() else []


def load_clip(path: str | Path) -> bpy.types.MovieClip:
    """The footage as a clip of this file; loaded once."""
    resolved = Path(path).resolve()
    for clip in bpy.data.movieclips:
        if Path(bpy.path.abspath(clip.filepath)).resolve() == resolved:
            return clip
    return bpy.data.movieclips.load(str(resolved))


def solve_clip_to_scene(
    clip_path: str | Path, out_dir: str | Path, settings: dict | None = None, on_change=None
) -> bpy.types.Scene:
    """Solve a clip and build a fresh scene from it. Returns the scene, which is the current one. Raises SolveFailed."""
    solve_clip(clip_path, out_dir, settings, on_change)
    scene = new_scene(Path(clip_path).stem)
    import_job(out_dir, clip_path if Path(clip_path).is_file() else None, scene)
    return scene


def place_prop(
    kind: str, xy_px: tuple[float, float], frame: int, scene: bpy.types.Scene | None = None, size: float | None = None
) -> bpy.types.Object:
    """Drop a test object into the scene's shot: see `props.place_prop`. frame: scene frame."""
    scene = scene or bpy.context.scene
    return props.place_prop(scene, _clip_of(scene), kind, xy_px, frame, size)


def scene_frame(number: int, scene: bpy.types.Scene | None = None) -> int:
    """Scene frame of the clip's own frame number (as solve.json counts)."""
    from .clip_frames import numbering_of

    return numbering_of(_clip_of(scene or bpy.context.scene)).scene_frame(number)


def render_lock_frames(
    out_dir: str | Path,
    frames: list[int],
    size: tuple[int, int] = (640, 360),
    samples: int = 8,
    scene: bpy.types.Scene | None = None,
) -> list[Path]:
    """Render the current scene's props over the footage at scene frames, as PNG files in out_dir. Returns their paths."""
    scene = scene or bpy.context.scene
    return lock_test.render_lock_frames(scene, _clip_of(scene), list(frames), tuple(size), Path(out_dir), samples)


def render_overview(path_png: str | Path, size: tuple[int, int] = (960, 540), scene: bpy.types.Scene | None = None) -> Path:
    """A picture of the camera's path with the point cloud."""
    scene = scene or bpy.context.scene
    return lock_test.render_overview(scene, _clip_of(scene), Path(path_png), size)


def save_blend(path: str | Path) -> Path:
    """Save the file; paths to footage and job folder become relative to it."""
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    for clip in bpy.data.movieclips:
        if clip.library:
            continue
        if clip.holdfast.solved:
            importer.note_folder(clip, importer.job_folder_of(clip), path.parent)
        clip.filepath = importer.relative_path(Path(bpy.path.abspath(clip.filepath)), path.parent)
    # Paths are as they must be after saving: Blender need not change them.
    bpy.ops.wm.save_as_mainfile(filepath=str(path), relative_remap=False)
    return path


def _clip_of(scene: bpy.types.Scene) -> bpy.types.MovieClip:
    clip = scene.holdfast.clip or scene.active_clip
    if clip is None:
        raise props.DropError("This scene has no solved clip")
    properties.ensure_uid(clip)
    return clip
