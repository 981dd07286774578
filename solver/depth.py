"""Where depth comes from: a network, a folder of maps, or nowhere.

source = open_depth_source("holdfast-small", None, "auto", threads=2, progress=progress)
depth_map = source.predict(frame_number, image_bgr)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .depth_cache import SLOW_S, CachedSource, cache_folder
from .depth_maps import MapsSource
from .depth_network import NetworkSource
from .models_registry import resolve_network
from .types import DepthMap, DepthSource


def open_depth_source(
    model: str | None,
    maps_dir: str | None = None,
    device: str = "auto",
    threads: int = 0,
    progress=None,
    pictures: int | None = None,
) -> DepthSource | None:
    """The depth source asked for; None for "none".

    model: a registry id, the path of an .onnx file, "none", or None for the network that ships with Holdfast. maps_dir
    takes precedence. device: auto | cpu | cuda. threads: 0 means one per core. progress: types.Progress or None; gets a
    warning when a faster provider failed. pictures: about how many will be asked for, None for many (see NetworkSource).
    Raises HoldfastError (EXIT_MODEL, EXIT_INPUT for maps).
    """
    if maps_dir is not None:
        return MapsSource(maps_dir)
    if model == "none":
        return None
    spec, path = resolve_network(model)
    network = NetworkSource(spec, path, device=device, threads=threads, progress=progress, pictures=pictures)
    folder = cache_folder()
    return CachedSource(network, folder) if folder is not None and network.seconds > SLOW_S else network


def predict_all(source: DepthSource, pictures: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, DepthMap | None]]:
    """(frame, map or None) of (frame, (H, W, 3) uint8 BGR), in order; in batches where the source takes them (GPUs)."""
    count = getattr(source, "batch_size", 1)
    batch: list[tuple[int, np.ndarray]] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == count:
            yield from _predict_batch(source, batch)
            batch = []
    if batch:
        yield from _predict_batch(source, batch)


def _predict_batch(source: DepthSource, batch: list[tuple[int, np.ndarray]]) -> list[tuple[int, DepthMap | None]]:
    frames = [frame for frame, _ in batch]
    if len(batch) == 1:
        return [(frames[0], source.predict(*batch[0]))]
    return list(zip(frames, source.predict_many(frames, [image for _, image in batch]), strict=True))


def sample_depth(depth_map: DepthMap, xy: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear (values, confidence) at keypoints; NaN where a neighbour is unknown or the point lies outside.

    xy (N, 2) px of the full resolution width x height, first pixel's centre at 0.5. Confidence is 1 where the source has none.
    """
    values, confidence = depth_map.values, depth_map.confidence
    h, w = values.shape
    xy = np.asarray(xy, np.float64)
    inside = (xy[:, 0] >= 0) & (xy[:, 0] <= width) & (xy[:, 1] >= 0) & (xy[:, 1] <= height)
    # Centres of the map's pixels are at 0.5 too; beyond the outermost centres the edge value holds.
    x = np.clip(np.where(inside, xy[:, 0], 0) * (w / width) - 0.5, 0, w - 1)
    y = np.clip(np.where(inside, xy[:, 1], 0) * (h / height) - 0.5, 0, h - 1)
    x0, y0 = np.minimum(x.astype(int), max(w - 2, 0)), np.minimum(y.astype(int), max(h - 2, 0))
    x1, y1 = np.minimum(x0 + 1, w - 1), np.minimum(y0 + 1, h - 1)
    fx, fy = x - x0, y - y0

    def bilinear(plane: np.ndarray) -> np.ndarray:
        result = np.zeros(len(xy))
        for yy, xx, weight in (
            (y0, x0, (1 - fx) * (1 - fy)),
            (y0, x1, fx * (1 - fy)),
            (y1, x0, (1 - fx) * fy),
            (y1, x1, fx * fy),
        ):
            # A neighbour without weight must not spread its NaN.
            result += np.where(weight > 0, plane[yy, xx], 0.0) * weight
        return np.where(inside, result, np.nan)

    return bilinear(values), (bilinear(confidence) if confidence is not None else np.where(inside, 1.0, np.nan))
