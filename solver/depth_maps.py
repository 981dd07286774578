"""Depth maps brought along: one EXR, 16-bit PNG, NPY or NPZ per frame, numbered as the clip numbers its frames."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np

from .errors import EXIT_INPUT, HoldfastError
from .types import DepthMap

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")  # read by OpenCV when it first meets an EXR file
import cv2

SUFFIXES = (".exr", ".png", ".npy", ".npz")
SIDECAR = "depth.json"
KINDS = ("disparity", "depth", "metric")


def _number(name: str) -> int | None:
    """The last run of digits of a file's name without its suffix: depth_0012.exr -> 12."""
    digits = re.findall(r"\d+", Path(name).stem)
    return int(digits[-1]) if digits else None


class MapsSource:
    """A DepthSource over a folder. PNG16 is metric, in millimetres, 0 meaning unknown; EXR, NPY and NPZ are depth up to scale.

    A file `depth.json` in the folder changes that: {"kind": "disparity|depth|metric", "unit_m": metres per stored unit}.
    NPZ files hold "depth" (or a single array) and may hold "confidence".
    """

    provider = "files"

    def __init__(self, folder: str) -> None:
        """Lists the folder. Raises HoldfastError when it is none, or holds no numbered depth maps, or a bad depth.json."""
        self.folder = Path(folder).expanduser()
        self.name = f"maps:{self.folder}"
        if not self.folder.is_dir():
            raise HoldfastError(
                "depth_maps.missing",
                f"There is no folder of depth maps {self.folder}.",
                "Give a folder with one EXR, 16-bit PNG, NPY or NPZ per frame.",
                EXIT_INPUT,
            )
        self._files: dict[int, Path] = {}
        for path in sorted(self.folder.iterdir()):
            number = _number(path.name) if path.suffix.lower() in SUFFIXES else None
            if number is not None:
                self._files.setdefault(number, path)
        if not self._files:
            raise HoldfastError(
                "depth_maps.empty",
                f"{self.folder} holds no numbered depth maps.",
                "Name them by frame, e.g. 000012.exr, .png (16 bit), .npy or .npz.",
                EXIT_INPUT,
            )
        suffixes = {p.suffix.lower() for p in self._files.values()}
        side = self._sidecar()
        self.kind = side.get("kind", "metric" if suffixes == {".png"} else "depth")
        if self.kind not in KINDS:
            raise HoldfastError(
                "depth_maps.sidecar", f"{SIDECAR}: kind is {self.kind!r}.", f"Use one of {', '.join(KINDS)}.", EXIT_INPUT
            )
        self._unit = side.get("unit_m")
        self.frames = tuple(sorted(self._files))

    def _sidecar(self) -> dict:
        path = self.folder / SIDECAR
        if not path.is_file():
            return {}
        try:
            side = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(side, dict) or not float(side.get("unit_m", 1.0)) > 0:
                raise ValueError("needs an object; unit_m above 0")
        except (ValueError, TypeError, OSError) as error:
            raise HoldfastError(
                "depth_maps.sidecar",
                f"{path} cannot be used: {error}.",
                'Write e.g. {"kind": "metric", "unit_m": 0.001}.',
                EXIT_INPUT,
            ) from None
        return side

    def predict(self, frame: int, image: np.ndarray) -> DepthMap | None:
        """The frame's map at its own resolution, None where there is none. Raises HoldfastError on an unreadable file."""
        path = self._files.get(frame)
        if path is None:
            return None
        values, confidence = self._read(path)
        unit = self._unit if self._unit is not None else (0.001 if path.suffix.lower() == ".png" else 1.0)
        values = values.astype(np.float32) * np.float32(unit)
        values[~np.isfinite(values)] = np.nan
        values[values <= 0] = np.nan
        # Renderers write a huge number where a ray meets nothing.
        values[values > 1e9] = np.nan
        return DepthMap(frame=frame, kind=self.kind, values=values, confidence=confidence)

    @staticmethod
    def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        confidence = None
        try:
            if path.suffix.lower() == ".npy":
                values = np.load(path, allow_pickle=False)
            elif path.suffix.lower() == ".npz":
                with np.load(path, allow_pickle=False) as stored:
                    key = "depth" if "depth" in stored.files else stored.files[0]
                    values = stored[key]
                    confidence = stored["confidence"].astype(np.float32) if "confidence" in stored.files else None
            else:
                values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                if values is None:
                    raise ValueError("not readable as an image")
                if path.suffix.lower() == ".png" and values.dtype != np.uint16:
                    raise ValueError("an 8-bit PNG cannot hold depth, 16 bits are needed")
                if values.ndim == 3:  # single-layer EXR written as grey RGB: all channels equal
                    values = values[..., -1 if values.shape[2] <= 3 else 2]
        except (ValueError, OSError, IndexError, KeyError, cv2.error) as error:
            raise HoldfastError(
                "depth_maps.unreadable",
                f"The depth map {path} cannot be read: {str(error).splitlines()[0]}.",
                "Write it again as EXR, 16-bit PNG, NPY or NPZ.",
                EXIT_INPUT,
            ) from None
        values = np.squeeze(values)
        if values.ndim != 2 or min(values.shape) < 2:
            raise HoldfastError(
                "depth_maps.unreadable",
                f"The depth map {path} has shape {values.shape}, not (height, width).",
                "Store one channel per frame.",
                EXIT_INPUT,
            )
        if confidence is not None and confidence.shape != values.shape:
            confidence = None
        return values, confidence
