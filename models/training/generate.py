"""Renders training images into shards: `python -m models.training.generate --out DIR --images 8000 --seed 1`.

A shard is two files: NAME.rgb.npy (N, H, W, 3) uint8 and NAME.disparity.npy (N, H/2, W/2) float16, 1 / z in 1/metres at every
second pixel, 0 for the sky. Shards are written whole; a second run with the same seed goes on after the last one. With --waiting
a run beside a training that takes shards away (`train --take`) goes on for ever and pauses while that many wait. Not for the
repository.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np

# Wide enough to cut pictures of every shape from it, from portrait to wide screen (store.py).
SIZE = (384, 272)
VIEWS_PER_WORLD, CANDIDATES = 6, 9
STOCK_SHARDS = 3  # shards that share a stock of textures and meshes


def expose(rgb: np.ndarray, target: float) -> np.ndarray:
    """Brings the mean of the linear light to `target`, as a camera's automatic exposure would."""
    linear = (np.arange(256) / 255.0) ** 2.2
    gain = np.clip(target / max(float(linear[rgb[::4, ::4]].mean()), 1e-3), 0.3, 6.0)
    return cv2.LUT(rgb, (np.clip(linear * gain, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8))


def informative(depth: np.ndarray, ids: np.ndarray) -> bool:
    """Whether a view is worth learning from: not stuck in a surface, not one bare wall, not all sky."""
    depth, ids = depth[::2, ::2], ids[::2, ::2]
    solid = np.isfinite(depth)
    if solid.mean() < 0.25 or np.percentile(depth[solid], 1) < 0.12:
        return False
    inverse = np.where(solid, 1.0 / np.maximum(depth, 1e-3), 0.0)
    low, high = np.percentile(inverse, [3, 97])
    largest = np.bincount(ids.ravel()).max() / ids.size
    return high > 1.25 * max(low, 1e-4) and largest < 0.85


def random_shade(rng: np.random.Generator, chance: float) -> tuple[float, float, float]:
    """Two ranges in metres and the strength of ambient occlusion (raster.Rasteriser.render); strength 0 without."""
    near, far = float(np.exp(rng.uniform(np.log(0.04), np.log(0.15)))), float(np.exp(rng.uniform(np.log(0.25), np.log(0.9))))
    return near, far, float(rng.uniform(1.0, 3.5)) if rng.random() < chance else 0.0


def render_shard(
    rng: np.random.Generator, raster, stock, count: int, kind: str | None = None, shade: float = 0.85
) -> tuple[np.ndarray, np.ndarray]:
    """(rgb (N, H, W, 3) uint8, disparity (N, H/2, W/2) float16) of `count` views in random order, of worlds of one kind or all;
    shade: share of pictures with ambient occlusion."""
    from .scenes import random_view, random_world

    rgbs = np.empty((count, raster.height, raster.width, 3), np.uint8)
    disparities = np.empty((count, raster.height // 2, raster.width // 2), np.float16)
    order = rng.permutation(count)
    done = 0
    while done < count:
        world = random_world(rng, stock, kind)
        cameras = []
        for _ in range(CANDIDATES):
            view = random_view(rng, world, raster.width)
            centre = (raster.width / 2 * rng.normal(1, 0.02), raster.height / 2 * rng.normal(1, 0.02))
            cameras.append((view.cam_from_world, view.focal_px, view.focal_px, *centre))
        depths, ids = raster.survey(world.scene, cameras)
        good = [k for k in range(CANDIDATES) if informative(depths[k], ids[k])][: min(VIEWS_PER_WORLD, count - done)]
        if good:
            shades, turns = [random_shade(rng, shade) for _ in good], list(rng.uniform(0, 0.52, len(good)))
            pictures = raster.pictures(world.scene, [cameras[k] for k in good], shades, turns)
        for picture, k in zip(pictures if good else (), good, strict=True):
            light = np.exp(rng.normal(np.log(0.2), 0.5)) * (rng.uniform(0.1, 0.5) if rng.random() < 0.12 else 1.0)
            rgbs[order[done]] = expose(np.ascontiguousarray(picture), float(light))
            disparities[order[done]] = np.minimum(1.0 / depths[k], 60.0)
            done += 1
        raster.changed()
    return rgbs, disparities


def waiting(folder: Path) -> int:
    """How many shards lie in a folder."""
    return sum(1 for _ in folder.glob("s*.disparity.npy"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--shard", type=int, default=400, help="images a shard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=2, help="NxN supersampling")
    parser.add_argument("--shade", type=float, default=0.85, help="share of pictures with ambient occlusion")
    parser.add_argument("--world", help="worlds of this kind alone (see scenes.WORLDS)")
    parser.add_argument("--waiting", type=int, help="go on for ever, but pause while this many shards lie in the folder")
    parser.add_argument("--until", type=float, help="stop at this moment (seconds since 1970)")
    args = parser.parse_args()
    os.environ.setdefault("LP_NUM_THREADS", "1")
    from .objects import Stock
    from .raster import Rasteriser

    args.out.mkdir(parents=True, exist_ok=True)
    raster = Rasteriser(*SIZE, args.samples, shadow_px=1024)
    index, stock, shown = 0, None, None
    while args.waiting or index < -(-args.images // args.shard):
        if args.until and time.time() > args.until:
            break
        name = f"s{args.seed:03d}_{index:04d}"
        index += 1
        if (args.out / f"{name}.disparity.npy").exists():
            continue
        while args.waiting and waiting(args.out) >= args.waiting:
            time.sleep(0.2)
        started = time.time()
        # Each shard has its own seed; textures and shapes are new every few shards, with pictures rendered before among them.
        rng = np.random.default_rng([args.seed, index - 1])
        if stock is None or (index - 1) % STOCK_SHARDS == 0:
            stock = Stock(int(rng.integers(2**31)), shown)
            raster.forget()
            raster.preload([t for kind in stock.textures.by_kind.values() for t in kind])
        rgb, disparity = render_shard(rng, raster, stock, args.shard, args.world, args.shade)
        shown = rgb[:60].copy()
        for part, array in (("rgb", rgb), ("disparity", disparity)):
            partial = args.out / f".{name}.{part}.npy"
            np.save(partial, array)
            partial.rename(args.out / f"{name}.{part}.npy")
        print(f"{name}: {args.shard} images, {(time.time() - started) / args.shard * 1000:.0f} ms each", flush=True)


if __name__ == "__main__":
    main()
