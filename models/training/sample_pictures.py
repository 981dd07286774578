"""Packs a few kept-back pictures for the tests: `python -m models.training.sample_pictures --shards DIR --out FILE.npz`.

For each picture k: `rgb_k`, the bytes of a JPEG, and `log_k` (h/4, w/4) uint8, log disparity
mapped from -6 .. 4 to 1 .. 255, 0 for the sky.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12)
    args = parser.parse_args()
    names = sorted(p.name.removesuffix(".rgb.npy") for p in args.shards.glob("*.rgb.npy"))
    packed = {}
    for k in range(args.count):
        name = names[k % len(names)]
        rgb, disparity = (np.load(args.shards / f"{name}.{part}.npy", mmap_mode="r") for part in ("rgb", "disparity"))
        index = (k * 37 + 5) % len(rgb)  # spread over worlds, not chosen by how well they come out
        coarse = disparity[index, 1::2, 1::2].astype(np.float32)
        log = np.clip((np.log(np.maximum(coarse, 1e-6)) + 6) / 10, 0, 1) * 254 + 1
        packed[f"rgb_{k}"] = cv2.imencode(".jpg", rgb[index][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        packed[f"log_{k}"] = np.where(coarse > 0, np.rint(log), 0).astype(np.uint8)
    np.savez_compressed(args.out, **packed)


if __name__ == "__main__":
    main()
