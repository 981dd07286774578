"""Writing the job folder (and, through `load`, reading it back).

Every file is written whole in a hidden folder beside its place; when all are there, the old results go, the new ones are renamed
into place, and `solve.json` comes last: a folder with a `solve.json` is complete.

For the same clip, settings, seed and machine all bytes are the same, except `timings`, the clip's `path` and the depth network's
`provider` in `solve.json` and the log: see `stable_part`.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from . import SCHEMA_VERSION, __version__
from .errors import EXIT_OUTPUT, HoldfastError
from .lifetime import finishing, on_end
from .load import load_document, load_solution
from .poses import focal_xy, world_from_cam
from .types import AlignedDepth, Solution

__all__ = ["load_document", "load_solution", "prepare_output", "solve_document", "stable_part", "write_solution"]

RESULT_FILES = ("solve.json", "points.ply", "points.npz", "tracks.npz", "depth")
_STAGING_PREFIX = ".holdfast-"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_ZIP_LEVEL = 1  # numbers pack hardly better however long it takes


def prepare_output(folder: str | os.PathLike) -> Path:
    """Make the job folder and prove that it can be written, before any work is done. Raises HoldfastError (output.*)."""
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        for left in path.glob(_STAGING_PREFIX + "*"):  # of a run that was killed; live ones hold files younger than this
            if left.is_dir() and not _in_use(left):
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=_STAGING_PREFIX):
            pass
        if shutil.disk_usage(path).free < 16 << 20:
            raise HoldfastError(
                "output.disk_full",
                f"The disk of {path} is full.",
                "Free some space, or choose another folder with --out.",
                EXIT_OUTPUT,
            )
    except FileExistsError:
        raise _unwritable(path, "a file of this name exists") from None
    except OSError as error:
        raise _unwritable(path, (error.strerror or str(error)).lower()) from error
    return path


def _unwritable(path: Path, why: str) -> HoldfastError:
    return HoldfastError(
        "output.unwritable", f"The results cannot be written to {path} ({why}).", "Choose another folder with --out.", EXIT_OUTPUT
    )


def _in_use(staging: Path) -> bool:
    """True while the process that made a staging folder (its id is in the name) lives."""
    try:
        number = int(staging.name.removeprefix(_STAGING_PREFIX).split("-")[0])
        if number == os.getpid():
            return True
        if os.name == "nt":
            return False
        os.kill(number, 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def solve_document(solution: Solution, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """The contents of solve.json: the public contract."""
    clip, camera = solution.clip, solution.camera
    focal = focal_xy(solution)
    varying = bool(np.ptp(solution.focal_px) > 1e-9 * np.mean(solution.focal_px))
    poses = world_from_cam(np.asarray(solution.cam_from_world, np.float64))
    frames = [
        {
            "frame": int(number),
            "c2w": poses[i].tolist(),
            "fx": float(focal[i, 0]),
            "fy": float(focal[i, 1]),
            "cx": float(camera.cx),
            "cy": float(camera.cy),
            "error_px": float(solution.frame_error_px[i]),
            "tracks": int(solution.frame_tracks[i]),
        }
        for i, number in enumerate(solution.frame_numbers)
    ]
    said = list(dict.fromkeys([*solution.warnings, *warnings]))
    files = {"points_ply": "points.ply", "points": "points.npz", "tracks": "tracks.npz", "log": "solver.log"}
    if solution.depth_maps:
        files["depth"] = "depth"
    document = {
        "schema": SCHEMA_VERSION,
        "holdfast": __version__,
        "clip": {
            "path": _absolute(clip.path),
            "width": clip.width,
            "height": clip.height,
            "fps": clip.fps,
            "frame_start": clip.frame_start,
            "frame_count": clip.frame_count or len(clip.frames),
            "frames": [int(clip.frames[0]), int(clip.frames[-1])],
            "step": clip.step,
            "missing": list(clip.missing),
            "pixel_aspect": clip.pixel_aspect,
            "is_sequence": clip.is_sequence,
            "rotation_deg": clip.rotation_deg,
            "focal_px": clip.focal_px,
            "focal_source": clip.focal_source,
        },
        "width": camera.width,
        "height": camera.height,
        "camera": {
            "model": camera.distortion_model,
            "k1": camera.k1,
            "k2": camera.k2,
            "cx": camera.cx,
            "cy": camera.cy,
            "focal": "varying" if varying else "constant",
            "row_time": camera.row_time,
        },
        "frames": frames,
        "motion": solution.verdict.motion,
        "metric": bool(solution.metric),
        "verdict": asdict(solution.verdict),
        "quality": solution.quality,
        "warnings": said,
        "timings": solution.timings,
        "depth": solution.depth_source,
        "keyframes": [int(k) for k in solution.keyframes],
        "files": files,
        "settings": solution.settings,
    }
    for name in ("history", "user_tracks", "world_id"):
        if getattr(solution, name):
            document[name] = getattr(solution, name)
    return json_ready(document)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def stable_part(document: dict[str, Any]) -> dict[str, Any]:
    """What of solve.json is the same for the same input, settings and seed, on any run."""
    kept = {key: value for key, value in document.items() if key != "timings"}
    kept["clip"] = {key: value for key, value in document["clip"].items() if key != "path"}
    kept["depth"] = {key: value for key, value in document["depth"].items() if key != "provider"}
    return kept


def write_solution(solution: Solution, folder: str | os.PathLike, warnings: tuple[str, ...] = ()) -> Path:
    """Write all result files of a solve; returns the path of solve.json. Raises HoldfastError (output.*)."""
    path = prepare_output(folder)
    staging = Path(tempfile.mkdtemp(prefix=f"{_STAGING_PREFIX}{os.getpid()}-", dir=path))
    take_back = on_end(lambda: shutil.rmtree(staging, ignore_errors=True))
    try:
        _write_points(solution, staging)
        if solution.depth_maps:
            (staging / "depth").mkdir()
        with ThreadPoolExecutor(2) as pool:  # packing lets go of Python's lock
            written = [pool.submit(_write_tracks, solution, staging)]
            written += [pool.submit(_write_depth, depth, staging / "depth") for depth in solution.depth_maps]
        for job in written:
            job.result()
        text = json.dumps(solve_document(solution, warnings), indent=1, allow_nan=False, ensure_ascii=False)
        (staging / "solve.json").write_text(text + "\n", encoding="utf-8")
        for file in staging.rglob("*"):
            if file.is_file():
                _sync(file)
        with finishing():
            _put_in_place(staging, path)
    except OSError as error:
        raise _unwritable(path, (error.strerror or str(error)).lower()) from error
    finally:
        take_back()
        shutil.rmtree(staging, ignore_errors=True)
    return path / "solve.json"


def _sync(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def _put_in_place(staging: Path, folder: Path) -> None:
    """Replace the old results; solve.json goes first and comes last."""
    old = staging / "old"
    old.mkdir()
    moves = [(folder / name, old / name) for name in RESULT_FILES] + [
        (staging / name, folder / name) for name in RESULT_FILES[::-1]
    ]
    made: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            if source.exists():
                os.replace(source, target)
                made.append((source, target))
    except OSError:  # e.g. a file that another program holds open on Windows: back to where everything was
        for source, target in reversed(made):
            os.replace(target, source)
        raise


def _compact(depth: np.ndarray) -> np.ndarray:
    """float32; infinities as NaN, because both mean "unknown" to readers."""
    result = np.asarray(depth, np.float32).copy()
    result[~np.isfinite(result)] = np.nan
    return result


def _write_points(solution: Solution, folder: Path) -> None:
    xyz = np.asarray(solution.points, np.float32).reshape(-1, 3)
    rgb = np.asarray(solution.point_colour, np.uint8).reshape(-1, 3)
    error = np.asarray(solution.point_error_px, np.float32)
    write_npz(
        folder / "points.npz",
        {
            "xyz": xyz,
            "rgb": rgb,
            "error_px": error,
            "length": np.asarray(solution.point_length, np.int32),
            "depth_sigma": np.asarray(solution.point_depth_sigma, np.float32),
            "track": np.asarray(solution.point_track, np.int32),
        },
    )
    (folder / "points.ply").write_bytes(ply_bytes(xyz, rgb, error))


def ply_bytes(xyz: np.ndarray, rgb: np.ndarray, error_px: np.ndarray) -> bytes:
    """A binary little-endian PLY of points: x y z red green blue error."""
    layout = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3), ("error", "<f4")])
    rows = np.zeros(len(xyz), layout)
    rows["xyz"], rows["rgb"], rows["error"] = xyz, rgb, error_px
    names = "".join(
        f"property {t} {n}\n" for t, n in [("float", c) for c in "xyz"] + [("uchar", c) for c in ("red", "green", "blue")]
    )
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(xyz)}\n{names}property float error\nend_header\n"
    return head.encode("ascii") + rows.tobytes()


def _write_tracks(solution: Solution, folder: Path) -> None:
    tracks = solution.tracks
    point = np.full(tracks.track_count, -1, np.int32)
    point[np.asarray(solution.point_track, int)] = np.arange(len(solution.point_track))
    extra = {"colour": solution.track_colour, "muted": solution.track_muted}
    write_npz(
        folder / "tracks.npz",
        {
            "frame_numbers": np.asarray(tracks.frame_numbers, np.int32),
            "track": np.asarray(tracks.track, np.int32),
            "frame_index": np.asarray(tracks.frame_index, np.int32),
            "xy": np.asarray(tracks.xy, np.float64),
            "sigma_px": np.asarray(tracks.sigma_px, np.float32),
            "elongation": np.asarray(tracks.elongation, np.float32),
            "label": np.asarray(solution.track_label, np.uint8),
            "held_out": np.asarray(solution.track_held_out, bool),
            "point": point,
            **{name: array for name, array in extra.items() if array is not None},
        },
    )


def _write_depth(depth: AlignedDepth, folder: Path) -> None:
    arrays = {"depth": _compact(depth.depth), "scale": depth.scale, "shift": depth.shift, "spread": depth.spread}
    if depth.confidence is not None:
        arrays["confidence"] = depth.confidence.astype(np.float16)
    if depth.network is not None:
        arrays |= {"network": _compact(depth.network), "kind": np.array(depth.kind)}
    write_npz(folder / f"{depth.frame:06d}.npz", arrays)


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """A compressed .npz whose bytes depend on the arrays alone (zip entries carry no clock)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_TIME)
            entry.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            archive.writestr(entry, content.getbuffer(), zipfile.ZIP_DEFLATED, _ZIP_LEVEL)


def json_ready(value: Any) -> Any:
    """Plain JSON values: arrays as lists, numbers that are not finite as null."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, np.generic):
        return json_ready(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)
