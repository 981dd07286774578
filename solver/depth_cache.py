"""Depth maps of slow networks, kept between runs: found again by the picture's content, the network's file and its description.

One small file per frame in the user's cache folder, the least recently used ones deleted above a size limit. A cache never
fails a solve: what cannot be read is computed, what cannot be written is not kept.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from . import __version__
from .depth_network import NetworkSource
from .models_registry import sha256_of
from .types import DepthMap

LIMIT_BYTES = 2 << 30
SLOW_S = 0.15  # a network faster than this is run again sooner than looked up


def cache_folder() -> Path | None:
    """Where depth maps are kept: $HOLDFAST_CACHE, else the platform's cache folder; None when HOLDFAST_CACHE is "off"."""
    chosen = os.environ.get("HOLDFAST_CACHE")
    if chosen:
        return None if chosen == "off" else Path(chosen) / "depth"
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "Holdfast" / "cache" / "depth"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "Holdfast" / "depth"
    return Path(os.environ.get("XDG_CACHE_HOME", home / ".cache")) / "holdfast" / "depth"


class CachedSource:
    """A DepthSource that asks the cache first; everything else is the network's."""

    def __init__(self, network: NetworkSource, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.network, self.folder, self.limit_bytes = network, folder, limit_bytes
        self.name, self.provider, self.kind, self.spec = network.name, network.provider, network.kind, network.spec
        self.fallback, self.batch_size = network.fallback, network.batch_size
        described = repr((asdict(network.spec.input), asdict(network.spec.output), __version__, network.provider))
        self._key = hashlib.blake2b((sha256_of(network.path) + described).encode(), digest_size=16).digest()
        self._written = 0

    def _path(self, image: np.ndarray) -> Path:
        digest = hashlib.blake2b(np.ascontiguousarray(image), digest_size=20, key=self._key)
        digest.update(repr(image.shape).encode())
        return self.folder / f"{digest.hexdigest()}.npz"

    def predict(self, frame: int, image: np.ndarray) -> DepthMap | None:
        """As NetworkSource.predict."""
        return self.predict_many([frame], [image])[0]

    def predict_many(self, frames: list[int], images: list[np.ndarray]) -> list[DepthMap]:
        """As NetworkSource.predict_many; only what is not kept goes through the network."""
        paths = [self._path(image) for image in images]
        found = {i: self._kept(path, frame) for i, (path, frame) in enumerate(zip(paths, frames, strict=True))}
        missing = [i for i, kept in found.items() if kept is None]
        if missing:
            for i, result in zip(
                missing, self.network.predict_many([frames[i] for i in missing], [images[i] for i in missing]), strict=True
            ):
                self._keep(paths[i], result)
                found[i] = result
        return [found[i] for i in range(len(frames))]

    def _kept(self, path: Path, frame: int) -> DepthMap | None:
        try:
            with np.load(path, allow_pickle=False) as kept:
                fov = float(kept["fov"])
                found = DepthMap(
                    frame,
                    self.kind,
                    kept["values"],
                    kept["confidence"] if "confidence" in kept.files else None,
                    None if np.isnan(fov) else fov,
                )
            os.utime(path)
            return found
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _keep(self, path: Path, result: DepthMap) -> None:
        arrays = {"values": result.values, "fov": np.float64(np.nan if result.fov_x_deg is None else result.fov_x_deg)}
        if result.confidence is not None:
            arrays["confidence"] = result.confidence
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
            np.savez(partial, **arrays)
            partial.replace(path)
            self._written += path.stat().st_size
            if self._written > self.limit_bytes // 20 or self._written == path.stat().st_size:
                trim(self.folder, self.limit_bytes)
                self._written = 1
        except OSError:
            pass


def trim(folder: Path, limit_bytes: int) -> None:
    """Deletes the least recently used files until the folder is within the limit."""
    files = []
    for path in folder.glob("*.npz"):
        try:
            stat = path.stat()
        except OSError:
            continue
        files.append((stat.st_mtime, stat.st_size, path))
    excess = sum(size for _, size, _ in files) - limit_bytes
    for _, size, path in sorted(files, key=lambda entry: entry[0]):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size
