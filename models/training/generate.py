"""Renders training images into shards: `python -m models.training.generate --out DIR --images 8000 --seed 1`.

A shard is two files: NAME.rgb.npy (N, H, W, 3) uint8 and NAME.disparity.npy (N, H, W) float16, 1 / z in 1/metres, 0 for the
sky. Shards are written whole; a second run with the same seed goes on after the last one. Not for the repository.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

SIZES = ((320, 192), (288, 224))
VIEWS_PER_WORLD = 4


def expose(rgb: np.ndarray, target: float) -> np.ndarray:
    """Brings the mean of the linear light to `target`, as a camera's automatic exposure would."""
    linear = (rgb.astype(np.float32) / 255.0) ** 2.2
    gain = np.clip(target / max(float(linear.mean()), 1e-3), 0.4, 5.0)
    return (np.clip(linear * gain, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def informative(depth: np.ndarray, ids: np.ndarray) -> bool:
    """Whether a view is worth learning from: not stuck in a surface, not one bare wall, not all sky."""
    solid = np.isfinite(depth)
    if solid.mean() < 0.25 or np.percentile(depth[solid], 1) < 0.15:
        return False
    inverse = np.where(solid, 1.0 / np.maximum(depth, 1e-3), 0.0)
    low, high = np.percentile(inverse, [3, 97])
    largest = np.bincount(ids.ravel()).max() / ids.size
    return high > 1.25 * max(low, 1e-4) and largest < 0.85


def render_shard(
    rng: np.random.Generator, raster, stock, count: int, kind: str | None = None, shade: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """(rgb (N, H, W, 3) uint8, disparity (N, H, W) float16) of `count` views, of worlds of one kind or all; shade: share of
    pictures with ambient occlusion."""
    from .occlusion import shaded
    from .scenes import random_view, random_world

    rgbs = np.empty((count, raster.height, raster.width, 3), np.uint8)
    disparities = np.empty((count, raster.height, raster.width), np.float16)
    done = 0
    while done < count:
        world = random_world(rng, stock, kind)
        taken = 0
        for _ in range(3 * VIEWS_PER_WORLD):
            if taken == VIEWS_PER_WORLD or done == count:
                break
            view = random_view(rng, world, raster.width)
            f = view.focal_px
            cx, cy = raster.width / 2 * rng.normal(1, 0.02), raster.height / 2 * rng.normal(1, 0.02)
            rgb, depth, ids = raster.render(world.scene, view.cam_from_world, f, f, cx, cy)
            if not informative(depth, ids):
                continue
            if shade and rng.random() < shade:
                rgb = shaded(rng, rgb, depth, f)
            rgbs[done] = expose(rgb, float(np.exp(rng.normal(np.log(0.2), 0.45))))
            disparities[done] = 1.0 / depth
            done, taken = done + 1, taken + 1
    return rgbs, disparities


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--shard", type=int, default=400, help="images a shard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=2, help="NxN supersampling")
    parser.add_argument("--shade", type=float, default=0.0, help="share of pictures with ambient occlusion")
    parser.add_argument("--world", help="worlds of this kind alone (see scenes.WORLDS)")
    args = parser.parse_args()
    os.environ.setdefault("LP_NUM_THREADS", "1")
    from .objects import Stock
    from .raster import Rasteriser

    args.out.mkdir(parents=True, exist_ok=True)
    for index in range(-(-args.images // args.shard)):
        name = f"s{args.seed:03d}_{index:04d}"
        if (args.out / f"{name}.disparity.npy").exists():
            continue
        started = time.time()
        # Each shard has its own seed and its own stock of textures and shapes, so shards can be made in any order.
        rng = np.random.default_rng([args.seed, index])
        width, height = SIZES[index % 5 in (1, 3)]
        stock, raster = Stock(int(rng.integers(2**31))), Rasteriser(width, height, args.samples, shadow_px=768)
        rgb, disparity = render_shard(rng, raster, stock, args.shard, args.world, args.shade)
        raster.ctx.release()
        for part, array in (("rgb", rgb), ("disparity", disparity)):
            partial = args.out / f".{name}.{part}.npy"
            np.save(partial, array)
            partial.rename(args.out / f"{name}.{part}.npy")
        print(
            f"{name} {width}x{height}: {args.shard} images, {(time.time() - started) / args.shard * 1000:.0f} ms each", flush=True
        )


if __name__ == "__main__":
    main()
