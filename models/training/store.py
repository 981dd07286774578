"""Pictures in the memory of the device that trains, and crops of them.

Shards (generate.py) are read by a thread while training goes on; when the store is full, the newest pictures take the place of
the oldest. Crops are cut and resized for a whole batch at once.
"""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

# What a batch's pictures are cut to (w, h), and how often: the sizes that the deployed network is fed.
SHAPES = (((320, 192), 0.55), ((288, 224), 0.28), ((384, 160), 0.09), ((224, 288), 0.08))


class PictureStore:
    """Up to `capacity` pictures (N, H, W, 3) uint8 and disparities (N, H/2, W/2) float16 on one device."""

    def __init__(self, folder: Path, capacity: int, device: str, take: bool = False) -> None:
        """take: delete a shard once it is read, so that a generator beside it may go on."""
        self.folder, self.capacity, self.device, self.take = folder, capacity, device, take
        self.count = self.seen = 0
        self.rgb = self.disparity = None
        self._known: set[str] = set()
        self._read: queue.Queue = queue.Queue(maxsize=2)
        self._thread: threading.Thread | None = None

    def _fresh(self) -> list[str]:
        names = sorted(p.name.removesuffix(".disparity.npy") for p in self.folder.glob("s*.disparity.npy"))
        return [n for n in names if n not in self._known]

    def _load(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        self._known.add(name)
        rgb, disparity = self.folder / f"{name}.rgb.npy", self.folder / f"{name}.disparity.npy"
        pictures, depths = torch.from_numpy(np.load(rgb)), torch.from_numpy(np.load(disparity))
        if self.take:
            disparity.unlink()
            rgb.unlink()
        return pictures, depths

    def _put(self, pictures: torch.Tensor, depths: torch.Tensor) -> None:
        if self.rgb is None:
            self.rgb = torch.empty((self.capacity, *pictures.shape[1:]), dtype=torch.uint8, device=self.device)
            self.disparity = torch.empty((self.capacity, *depths.shape[1:]), dtype=torch.float16, device=self.device)
        at = self.seen % self.capacity
        n = min(len(pictures), self.capacity - at)
        self.rgb[at : at + n] = pictures[:n].to(self.device)
        self.disparity[at : at + n] = depths[:n].to(self.device)
        self.seen += n
        self.count = min(self.seen, self.capacity)

    def load_all(self) -> PictureStore:
        """Reads what lies in the folder now."""
        for name in self._fresh():
            self._put(*self._load(name))
        return self

    def follow(self) -> None:
        """Goes on reading in a thread of its own; `receive` puts what was read into the store."""

        def work() -> None:
            while True:
                fresh = self._fresh()
                for name in fresh:
                    self._read.put(self._load(name))
                if not fresh:
                    time.sleep(0.5)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def receive(self) -> bool:
        """Takes in at most one shard that has been read; whether there was one."""
        try:
            self._put(*self._read.get_nowait())
        except queue.Empty:
            return False
        return True

    def crops(
        self, generator: torch.Generator, count: int, size: tuple[int, int], smallest: float = 0.55
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((B, 3, h, w) float 0..1, (B, h/2, w/2) disparity) of random pictures, cut at random, mirrored half of the time."""
        index = torch.randint(self.count, (count,), device=self.device, generator=generator)
        return random_crops(self.rgb[index].permute(0, 3, 1, 2), self.disparity[index], size, smallest, generator)


def random_crops(
    rgb: torch.Tensor, disparity: torch.Tensor, size: tuple[int, int], smallest: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cuts each of (B, 3, H, W) uint8 and (B, H/2, W/2) to a random part of at least `smallest` of what fits, up to a tenth
    wider or narrower than it should be, as (B, 3, h, w) float and (B, h/2, w/2); size (w, h)."""
    count, device = len(rgb), rgb.device
    height, width = rgb.shape[2:]

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, device=device, generator=generator) * (high - low) + low

    fit = min(width / size[0], height / size[1]) * uniform(smallest, 1.0)
    stretch = uniform(-0.05, 0.05)
    half_w = (fit * size[0] / width * torch.exp(stretch)).clamp(max=1.0)  # shares of the picture's size
    half_h = (fit * size[1] / height * torch.exp(-stretch)).clamp(max=1.0)
    x, y = (1 - half_w) * uniform(-1, 1), (1 - half_h) * uniform(-1, 1)
    sign = torch.where(uniform(0, 1) < 0.5, 1.0, -1.0)
    zero = torch.zeros_like(x)
    theta = torch.stack([torch.stack([half_w * sign, zero, x], 1), torch.stack([zero, half_h, y], 1)], 1)
    grid = F.affine_grid(theta, [count, 1, size[1], size[0]], align_corners=False)
    pictures = F.grid_sample(rgb.float() / 255.0, grid, mode="bilinear", padding_mode="border", align_corners=False)
    coarse = F.affine_grid(theta, [count, 1, size[1] // 2, size[0] // 2], align_corners=False)
    depths = F.grid_sample(disparity[:, None].float(), coarse, mode="nearest", padding_mode="border", align_corners=False)
    return pictures, depths[:, 0]
