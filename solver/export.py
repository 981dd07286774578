"""Writing a finished solve for other programs. All formats keep the world of `points.ply`: cameras and points fit together."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .errors import EXIT_OUTPUT, HoldfastError
from .load import load_solution
from .report import ply_bytes
from .types import Solution

# OpenCV camera axes (y down, z forward) seen from an OpenGL camera (y up, z backward): Nuke, nerfstudio, Blender, USD.
GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])


def export_solution(folder: str, to: str, out: str | None = None) -> Path:
    """Write the solve in `folder` as `to` (one of FORMATS), to `out` or its usual place inside the folder; returns the path.

    What lies there is replaced once the new one is complete. Raises HoldfastError (result.*, output.*).
    """
    usual_name, write = _formats()[to]
    solution = load_solution(folder)
    base = Path(folder).expanduser()
    base = base.parent if base.suffix == ".json" else base
    target = Path(out).expanduser() if out else base / usual_name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".holdfast-{os.getpid()}-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        made = staging / target.name
        write(solution, made)
        if target.is_dir() and not target.is_symlink():
            if made.is_dir() and not any(target.iterdir()):
                target.rmdir()
            elif made.is_dir():
                _replace_files(made, target)
                return target
            else:
                made_in = target / usual_name  # a folder given for a single file
                os.replace(made, made_in)
                return made_in
        os.replace(made, target)
        if to == "nerfstudio" and not (target.parent / "points.ply").exists():
            write_ply(solution, target.parent / "points.ply")  # transforms.json names it
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _unwritable(target: Path, error: OSError) -> HoldfastError:
    why = (error.strerror or str(error)).lower()
    return HoldfastError(
        "output.unwritable", f"{target} cannot be written ({why}).", "Choose another place with --out.", EXIT_OUTPUT
    )


def _replace_files(made: Path, target: Path) -> None:
    """Put the files of `made` over those of the same names in `target`; anything else in there is the user's."""
    for source in sorted(made.rglob("*")):
        if source.is_file():
            place = target / source.relative_to(made)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, place)


def _formats() -> dict[str, tuple[str, Callable[[Solution, Path], None]]]:
    """Format -> (usual name, writer). Writers get a path that does not exist and make a file or a folder of it."""
    from .export_colmap import write_colmap
    from .export_lens import write_nuke_lens, write_stmaps
    from .export_scene import write_chan, write_nerfstudio

    return {
        "colmap": ("colmap", write_colmap),
        "nerfstudio": ("transforms.json", write_nerfstudio),
        "ply": ("export.ply", write_ply),
        "chan": ("camera.chan", write_chan),
        "nuke-lens": ("lens.nk", write_nuke_lens),
        "stmap": ("stmap", write_stmaps),
    }


def write_ply(solution: Solution, path: Path) -> None:
    """The point cloud as binary PLY: x y z red green blue error."""
    path.write_bytes(ply_bytes(solution.points.astype(np.float32), solution.point_colour, solution.point_error_px))


def plate_frames(solution: Solution) -> np.ndarray:
    """(F,) frame numbers as compositors and editors count them: a sequence's own, a movie's from 1."""
    return np.asarray(solution.frame_numbers, int) + (0 if solution.clip.is_sequence else 1)


def image_name(solution: Solution, frame: int) -> str:
    """File name of a frame: the sequence's own, or `frame_000012.png` for a movie's (as if extracted)."""
    if solution.clip.is_sequence:
        name = os.path.basename(solution.clip.path)
        hashes = name.count("#")
        if hashes:
            return name.replace("#" * hashes, f"{frame:0{hashes}d}")
    return f"frame_{frame:06d}.png"
