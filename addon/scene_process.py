# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of its own: makes the scene of one solved shot and its exports, in a Blender without a window or a Python with bpy.

    blender -b --factory-startup --python-exit-code 1 -P scene_process.py -- JOB CLIP OUT.blend [usd,alembic,fbx]
    python scene_process.py JOB CLIP OUT.blend [usd,alembic,fbx]
    ... --formats                                        (which of them this Blender can write)

Batches run it for every shot, so that a Blender that crashes takes one shot along and no more. It needs no installed extension.
The last thing it prints is one line: `holdfast-scene {"made": {...}}`, `{"formats": [...]}` or
`{"error": "..."}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MARK = "holdfast-scene "


def make_scene(job_folder: str, clip: str, blend: str, formats: list[str]) -> dict[str, str]:
    """Import a job folder into an empty Blender, save it, export; returns what -> path. Raises what the steps raise."""
    import bpy

    from addon import headless, jobfolder, scene_export

    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    shot = jobfolder.read_shot(job_folder)
    footage = Path(clip) if Path(clip).is_file() else headless.find_footage(shot)
    scene = headless.new_scene(Path(blend).stem)
    headless.import_job(job_folder, footage, scene)
    saved = headless.save_blend(blend)
    made = scene_export.export_shot(scene, scene.holdfast.clip, shot, saved.with_suffix(""), formats)
    return {"blend": str(saved)} | {name: str(path) for name, path in made.items()}


def main(arguments: list[str]) -> int:
    """Run with the arguments that the module's description names; returns the exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import bpy

    import addon
    from addon import jobfolder, scene_export

    if arguments == ["--formats"]:
        print(MARK + json.dumps({"formats": scene_export.available(), "version": bpy.app.version_string}), flush=True)
        return 0
    job_folder, clip, blend, *formats = arguments
    addon.register()
    try:
        made = make_scene(job_folder, clip, blend, [name for name in ",".join(formats).split(",") if name])
    except (jobfolder.JobFolderError, scene_export.ExportError, RuntimeError, OSError) as error:
        print(MARK + json.dumps({"error": " ".join(str(error).split())}), flush=True)
        return 1
    finally:
        addon.unregister()
    print(MARK + json.dumps({"made": made}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]))
