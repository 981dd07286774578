# SPDX-License-Identifier: GPL-3.0-or-later
"""Solves stay with their .blend file: saved for the first time, it takes them out of the temporary folder; saved elsewhere, it
still knows where they are.
"""

from __future__ import annotations

import shutil
import tempfile
import traceback
from pathlib import Path

import bpy

from . import importer, preferences

_folders: dict[str, Path] = {}  # clip name -> its job folder, while a file is being saved


def temporary_roots() -> list[Path]:
    """Folders for solves of files that are not saved yet."""
    roots = [Path(tempfile.gettempdir()) / "holdfast"]
    if preferences.get().cache:
        roots.append(Path(bpy.path.abspath(preferences.get().cache)))
    return roots


def _solved_clips() -> list[bpy.types.MovieClip]:
    return [clip for clip in bpy.data.movieclips if clip.holdfast.solved and not clip.library]


@bpy.app.handlers.persistent
def _before_save(path: str = "", *_) -> None:
    """Move what lies in a temporary folder beside the file that is about to be saved, and write paths relative to it."""
    _folders.clear()
    if not isinstance(path, str) or not path:
        return
    home = Path(path).resolve().parent
    for clip in _solved_clips():
        try:
            folder = importer.job_folder_of(clip)
            if not (folder / "solve.json").is_file():
                continue
            folder = _settled(folder, home)
            _folders[clip.name] = folder
            importer.note_folder(clip, folder, home)
        except OSError:  # saving must go on; the solve stays where it is
            traceback.print_exc()


def _settled(folder: Path, home: Path) -> Path:
    """The job folder, copied beside the file if it was a temporary one. Images of it in this file follow."""
    folder = folder.resolve()
    if not any(root.resolve() in folder.parents for root in temporary_roots()):
        return folder
    target = home / "holdfast" / folder.name
    shutil.copytree(folder, target, dirs_exist_ok=True)
    for image in bpy.data.images:
        if image.filepath and not image.library and Path(bpy.path.abspath(image.filepath)).parent == folder:
            image.filepath_raw = str(target / Path(image.filepath).name)
    return target


@bpy.app.handlers.persistent
def _after_save(*_) -> None:
    """After a copy was saved elsewhere, paths are relative to this file again."""
    if not bpy.data.filepath:
        return
    for clip in _solved_clips():
        if clip.name in _folders:
            importer.note_folder(clip, _folders[clip.name], Path(bpy.data.filepath).parent)
    _folders.clear()


_HANDLERS = (("save_pre", _before_save), ("save_post", _after_save))


def register() -> None:
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    for name, handler in _HANDLERS:
        if handler in getattr(bpy.app.handlers, name):
            getattr(bpy.app.handlers, name).remove(handler)
    _folders.clear()
