"""What the `depth` command writes: EXR files, the preview movie and depth.json, made aside and put in place together."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import __version__
from .depth_sequence import SteadyDepth
from .errors import EXIT_OUTPUT, HoldfastError
from .events import Reporter
from .exr_depth import write_depth_exr
from .lifetime import finishing, on_end
from .report import json_ready
from .types import DepthSource, Solution

SCHEMA = 1
PARTS = ("depth.json", "preview.mp4", "exr")
PREVIEW_WIDTH = 960  # px


def full_size(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """A map (h, w) at the clip's size, linear in log depth; unknown stays unknown (NaN)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.exp(cv2.resize(np.log(depth), (width, height), interpolation=cv2.INTER_LINEAR))


def write_depth(
    folder: Path,
    solution: Solution,
    steady: SteadyDepth,
    indices: list[int],
    source: DepthSource,
    solve_folder: str,
    threads: int,
    reporter: Reporter,
) -> dict[str, Any]:
    """All files, made in a hidden folder and put in place together; depth.json goes first and comes last."""
    width, height = solution.camera.width, solution.camera.height
    numbers = [int(solution.frame_numbers[i]) for i in indices]
    unit = "metres" if solution.metric else "scene units"
    staging = Path(tempfile.mkdtemp(prefix=f".holdfast-{os.getpid()}-", dir=folder))
    take_back = on_end(lambda: shutil.rmtree(staging, ignore_errors=True))
    try:
        (staging / "exr").mkdir()
        low, high = _range(steady)
        workers = min(threads or os.cpu_count() or 1, 4)
        movie = _Preview(staging / "preview.mp4", width, height, solution.clip.fps, low, high)
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future] = deque()
            for done, (number, view) in enumerate(zip(numbers, steady.views, strict=True)):
                whole = full_size(view[1], width, height)
                waiting.append(pool.submit(write_depth_exr, staging / "exr" / f"depth.{number:06d}.exr", whole, unit))
                movie.add(whole)
                while len(waiting) > 2 * workers:
                    waiting.popleft().result()
                reporter("write", done, len(numbers))
            for future in waiting:
                future.result()
        movie.close()
        document = _document(solution, steady, numbers, source, solve_folder, unit, (low, high))
        (staging / "depth.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        with finishing():
            _put_in_place(staging, folder)
    except OSError as error:
        raise HoldfastError(
            "output.unwritable",
            f"The results cannot be written to {folder} ({(error.strerror or str(error)).lower()}).",
            "Choose another folder with --out.",
            EXIT_OUTPUT,
        ) from error
    finally:
        take_back()
        shutil.rmtree(staging, ignore_errors=True)
    reporter("write", len(numbers), len(numbers))
    return document


def _put_in_place(staging: Path, folder: Path) -> None:
    """Replace the old results by the new ones; on failure everything goes back to where it was."""
    old = staging / "old"
    old.mkdir()
    made: list[tuple[Path, Path]] = []
    try:
        for source, target in [(folder / n, old / n) for n in PARTS] + [(staging / n, folder / n) for n in PARTS[::-1]]:
            if source.exists():
                os.replace(source, target)
                made.append((source, target))
    except OSError:
        for source, target in reversed(made):
            os.replace(target, source)
        raise


def _range(steady: SteadyDepth) -> tuple[float, float]:
    """Near and far of the whole shot, without the outermost percent."""
    sample = np.concatenate([view[1][::2, ::2].ravel() for view in steady.views])
    low, high = np.nanpercentile(sample, [1, 99])
    return float(low), float(max(high, low * 1.001))


def _document(
    solution: Solution,
    steady: SteadyDepth,
    numbers: list[int],
    source: DepthSource,
    solve_folder: str,
    unit: str,
    span: tuple[float, float],
) -> dict[str, Any]:
    return json_ready(
        {
            "schema": SCHEMA,
            "holdfast": __version__,
            "clip": os.path.abspath(os.path.expanduser(solution.clip.path)),
            "solve": os.path.abspath(os.path.expanduser(solve_folder)),
            "network": {"name": source.name, "provider": source.provider, "kind": source.kind},
            "files": "exr/depth.######.exr",
            "preview": "preview.mp4",
            "unit": unit,
            "range": [round(v, 6) for v in span],
            "spread": steady.spread,
            "inconsistency": steady.inconsistency,
            "inconsistency_alone": steady.inconsistency_alone,
            "frames": [
                {"frame": n, "scale": float(s), "shift": float(t)}
                for n, s, t in zip(numbers, steady.scale, steady.shift, strict=True)
            ],
        }
    )


class _Preview:
    """A movie of depth in colours, near warm and far cold, one scale for the whole shot."""

    def __init__(self, path: Path, width: int, height: int, fps: float, low: float, high: float) -> None:
        scale = min(PREVIEW_WIDTH / width, 1.0)
        self.size = max(round(width * scale / 2) * 2, 2), max(round(height * scale / 2) * 2, 2)
        self.low, self.span = float(np.log(low)), float(np.log(high / low))
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, self.size)
        if not self._writer.isOpened():
            raise OSError("the preview movie cannot be written")

    def add(self, depth: np.ndarray) -> None:
        """One frame."""
        small = cv2.resize(depth, self.size, interpolation=cv2.INTER_AREA)
        with np.errstate(invalid="ignore", divide="ignore"):
            near = 1 - (np.log(small) - self.low) / self.span
        colours = cv2.applyColorMap((np.clip(np.nan_to_num(near), 0, 1) * 255 + 0.5).astype(np.uint8), cv2.COLORMAP_TURBO)
        colours[~np.isfinite(small)] = 0
        self._writer.write(colours)

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()
