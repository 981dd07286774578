"""What light, lenses, cameras and codecs do to pictures, for a whole batch at once on the device that trains.

Pictures are (B, 3, H, W) float 0..1. Every effect is drawn for each picture by itself and left out for most; the order is that
of the world: light on the scene, air, lens, sensor, camera, codec. Some of it is like no camera (random convolutions, Xu et al.
2021; another picture's amplitudes or colours, Yang & Soatto 2020): it keeps the network from relying on how the renderer looks.
"""

from __future__ import annotations

import math
import random

import torch
from torch.nn import functional as F


class Chance:
    """Random numbers of the shape that effects need, from one generator."""

    def __init__(self, generator: torch.Generator, count: int, device: torch.device) -> None:
        self.generator, self.count, self.device = generator, count, device
        self.plain = random.Random(generator.initial_seed())  # for what the whole batch shares, without asking the device

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """(B, *shape) between low and high."""
        return torch.rand((self.count, *shape), device=self.device, generator=self.generator) * (high - low) + low

    def normal(self, spread: float, *shape: int) -> torch.Tensor:
        """(B, *shape) around zero."""
        return torch.randn((self.count, *shape), device=self.device, generator=self.generator) * spread

    def some(self, share: float) -> torch.Tensor:
        """(B, 1, 1, 1): 1 for about this share of the pictures, else 0."""
        return (self.uniform(0, 1, 1, 1, 1) < share).float()

    def of(self, share: float) -> torch.Tensor:
        """Indices of a fixed share of the batch, drawn anew (at least one)."""
        order = torch.randperm(self.count, device=self.device, generator=self.generator)
        return order[: max(int(self.count * share), 1)]

    def part(self, count: int) -> Chance:
        """The same for a part of the batch."""
        return Chance(self.generator, count, self.device)


def gaussian(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """(B, C, H, W) blurred."""
    radius = max(int(math.ceil(2.5 * sigma)), 1)
    x = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    channels = image.shape[1]
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(across, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def smooth_field(chance: Chance, size: tuple[int, int], cells: int, channels: int = 1) -> torch.Tensor:
    """(B, channels, h, w) of slowly changing normal noise."""
    coarse = chance.normal(1.0, channels, cells, cells + 1)
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=False)


def light(chance: Chance, image: torch.Tensor) -> torch.Tensor:
    """Uneven light, and shadows with an edge, that the scene does not explain."""
    size = image.shape[2:]
    field = torch.exp(0.35 * chance.some(0.3) * smooth_field(chance, size, 3))
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, device=image.device) for n in size), indexing="ij")
    turn, away = chance.uniform(0, 2 * math.pi, 1, 1, 1), chance.uniform(-0.8, 0.8, 1, 1, 1)
    width = torch.exp(chance.uniform(-4.5, -0.5, 1, 1, 1))
    edge = torch.sigmoid((x * torch.cos(turn) + y * torch.sin(turn) - away) / width)
    return image * field * (1 - chance.some(0.12) * chance.uniform(0.2, 0.75, 1, 1, 1) * edge)


def haze(chance: Chance, image: torch.Tensor, disparity: torch.Tensor) -> torch.Tensor:
    """Air that hides what is far: disparity (B, h, w), 0 for the sky."""
    near = disparity.flatten(1).median(dim=1).values.clamp_min(1e-3)[:, None, None, None]
    z = (near / F.interpolate(disparity[:, None], size=image.shape[2:], mode="nearest").clamp_min(1e-4)).clamp(max=50.0)
    left = torch.exp(-torch.exp(chance.uniform(-3.0, -0.3, 1, 1, 1)) * z)
    air = chance.uniform(0.3, 0.95, 1, 1, 1) * chance.uniform(0.85, 1.0, 3, 1, 1)
    return torch.lerp(image, image * left + air * (1 - left), chance.some(0.1))


def lens(chance: Chance, image: torch.Tensor, disparity: torch.Tensor) -> torch.Tensor:
    """Blur: the same everywhere, or growing with the difference in disparity from where the lens is sharp (thin lens)."""
    flat = disparity.flatten(1)
    spread = (flat.amax(1) - flat.amin(1)).clamp_min(1e-4)[:, None, None, None]
    picked = torch.randint(flat.shape[1], (chance.count, 1), device=image.device, generator=chance.generator)
    sharp_at = flat.gather(1, picked)[:, :, None, None]
    near = F.interpolate(disparity[:, None], size=image.shape[2:], mode="nearest")
    out_of_focus = chance.some(0.15) * torch.exp(chance.uniform(-0.3, 2.0, 1, 1, 1)) * (near - sharp_at).abs() / spread
    all_over = chance.some(0.4) * torch.exp(chance.uniform(-1.3, 0.7, 1, 1, 1))
    sigma = gaussian(out_of_focus, 2.0) + all_over
    result = image
    below = 0.0
    for step in (0.6, 1.2, 2.4, 4.8):
        weight = ((sigma - below) / (step - below)).clamp(0, 1)
        result = torch.lerp(result, gaussian(image, step), weight)
        below = step
    return result


def motion(chance: Chance, image: torch.Tensor) -> torch.Tensor:
    """A camera that moved while the shutter was open, for some."""
    chosen = chance.of(0.12)
    part, moved = chance.part(len(chosen)), image[chosen]
    h, w = image.shape[2:]
    turn, length = part.uniform(0, 2 * math.pi), part.uniform(1.0, 12.0)
    across, down = length * torch.cos(turn) / w * 2, length * torch.sin(turn) / h * 2
    total = torch.zeros_like(moved)
    steps = 7
    identity = torch.eye(2, 3, device=image.device)[None].repeat(len(chosen), 1, 1)
    for k in range(steps):
        theta = identity.clone()
        theta[:, 0, 2], theta[:, 1, 2] = across * (k / (steps - 1) - 0.5), down * (k / (steps - 1) - 0.5)
        grid = F.affine_grid(theta, list(moved.shape), align_corners=False)
        total += F.grid_sample(moved, grid, padding_mode="border", align_corners=False)
    image = image.clone()
    image[chosen] = total / steps
    return image


def strange(chance: Chance, image: torch.Tensor) -> torch.Tensor:
    """Random convolutions, another picture's colours, another picture's amplitudes: for some each."""
    image = image.clone()
    chosen = chance.of(0.12)  # random convolution, brought back to the picture's own mean and contrast
    part, given = chance.part(len(chosen)), image[chosen]
    size = 3 if chance.plain.random() < 0.6 else 1
    kernel = part.normal((3 * size * size) ** -0.5, 3, 3, size, size).flatten(0, 1)
    mixed = F.conv2d(given.flatten(0, 1)[None], kernel, padding=size // 2, groups=len(chosen)).view_as(given)
    mean, std = given.mean((2, 3), keepdim=True), given.std((2, 3), keepdim=True)
    mixed = (mixed - mixed.mean((2, 3), keepdim=True)) / (mixed.std((2, 3), keepdim=True) + 1e-4) * std + mean
    image[chosen] = torch.lerp(given, mixed, part.uniform(0.2, 1.0, 1, 1, 1)).clamp(0, 1)

    chosen = chance.of(0.2)  # another picture's mean and contrast of each colour
    part, given = chance.part(len(chosen)), image[chosen]
    other = given.roll(1, 0)
    moved = (given - given.mean((2, 3), keepdim=True)) / (given.std((2, 3), keepdim=True) + 1e-3)
    moved = moved * other.std((2, 3), keepdim=True) + other.mean((2, 3), keepdim=True)
    image[chosen] = torch.lerp(given, moved, part.uniform(0.2, 1.0, 1, 1, 1)).clamp(0, 1)

    chosen = chance.of(0.08)  # another picture's amplitudes, mixed in at every frequency
    part, given = chance.part(len(chosen)), image[chosen]
    spectrum = torch.fft.rfft2(given)
    amplitude = torch.lerp(spectrum.abs(), spectrum.abs().roll(1, 0), part.uniform(0.0, 0.7, 1, 1, 1))
    image[chosen] = torch.fft.irfft2(torch.polar(amplitude, spectrum.angle()), s=given.shape[2:]).clamp(0, 1)
    return image


def colour(chance: Chance, image: torch.Tensor) -> torch.Tensor:
    """Exposure, white balance, colours mixed by a sensor, tone curves, saturation, lifted blacks, vignette, grey pictures."""
    gains = torch.exp(
        chance.normal(0.3, 1, 1, 1) + chance.some(0.15) * chance.uniform(0.0, 0.9, 1, 1, 1) + chance.normal(0.12, 3, 1, 1)
    )
    matrix = torch.eye(3, device=image.device) + chance.some(0.5)[:, 0] * chance.normal(0.08, 3, 3)
    image = torch.einsum("bij,bjhw->bihw", matrix, image * gains).clamp(0, 1)
    image = (image + 1e-4) ** torch.exp(chance.normal(0.25, 1, 1, 1))
    curve = chance.some(0.4) * chance.uniform(-0.5, 1.0, 1, 1, 1)
    image = torch.lerp(image, image * image * (3 - 2 * image), curve).clamp(0, 1)
    grey = image.mean(1, keepdim=True)
    saturation = 1 + chance.some(0.6) * chance.uniform(-0.7, 0.5, 1, 1, 1)
    saturation = saturation * (1 - chance.some(0.07))
    image = grey + (image - grey) * saturation
    image = torch.lerp(image, torch.ones_like(image), chance.some(0.25) * chance.uniform(0, 0.25, 1, 1, 1))
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, device=image.device) for n in image.shape[2:]), indexing="ij")
    return image * (1 - chance.some(0.3) * chance.uniform(0.1, 0.5, 1, 1, 1) * (x * x + y * y) / 2)


def sensor(chance: Chance, image: torch.Tensor) -> torch.Tensor:
    """Grain that is stronger where there is light, fine or coarse, and the camera's sharpening."""
    fine = torch.randn(image.shape, device=image.device, generator=chance.generator)
    noise = torch.lerp(fine, 1.8 * gaussian(fine, 0.8), chance.some(0.4))
    sigma = chance.some(0.65) * torch.exp(chance.uniform(math.log(0.004), math.log(0.07), 1, 1, 1))
    image = image + sigma * noise * (0.4 + image.clamp(0, 1).sqrt())
    return image + chance.some(0.25) * chance.uniform(0.3, 1.5, 1, 1, 1) * (image - gaussian(image, 1.0))


def smaller(chance: Chance, image: torch.Tensor) -> torch.Tensor:
    """Some pictures that were enlarged from a smaller size."""
    chosen = chance.of(0.12)
    share = chance.plain.uniform(0.4, 0.9)
    size = (int(image.shape[2] * share), int(image.shape[3] * share))
    small = F.interpolate(image[chosen], size=size, mode="bilinear", antialias=True, align_corners=False)
    image = image.clone()
    image[chosen] = F.interpolate(small, size=image.shape[2:], mode="bilinear", align_corners=False)
    return image


_LUMA = ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))


def blocks(chance: Chance, image: torch.Tensor) -> torch.Tensor:
    """Compression of some: cosine transforms of 8x8 blocks, coarser steps at higher frequencies and for colour."""
    chosen = chance.of(0.45)
    part, given = chance.part(len(chosen)), image[chosen]
    b, _, h, w = given.shape
    k = torch.arange(8, device=image.device, dtype=image.dtype)
    basis = torch.cos(math.pi / 8 * (k[None] + 0.5) * k[:, None]) * 0.5
    basis[0] *= 2**-0.5
    to_luma = torch.tensor(_LUMA, device=image.device)
    ycc = torch.einsum("ij,bjhw->bihw", to_luma, given)
    tiles = ycc.reshape(b, 3, h // 8, 8, w // 8, 8)
    frequencies = torch.einsum("ki,bcyixj,lj->bcykxl", basis, tiles, basis)
    steps = (1 + 0.6 * (k[:, None] + k[None]))[None, None, None, :, None, :] * torch.tensor(
        [1.0, 2.0, 2.0], device=image.device
    ).view(1, 3, 1, 1, 1, 1)
    steps = steps * torch.exp(part.uniform(math.log(0.01), math.log(0.12), 1, 1, 1, 1, 1))
    frequencies = torch.round(frequencies / steps) * steps
    tiles = torch.einsum("ki,bcykxl,lj->bcyixj", basis, frequencies, basis)
    image = image.clone()
    image[chosen] = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_luma), tiles.reshape(b, 3, h, w))
    return image


def degrade(image: torch.Tensor, disparity: torch.Tensor, generator: torch.Generator, clean: float = 0.1) -> torch.Tensor:
    """All of it: (B, 3, H, W) and disparity (B, H/2, W/2) -> (B, 3, H, W) in 0..1; clean: share left as it is."""
    chance = Chance(generator, len(image), image.device)
    result = strange(chance, light(chance, image))
    result = lens(chance, haze(chance, result, disparity), disparity)
    result = sensor(chance, colour(chance, motion(chance, result)).clamp(0, 1)).clamp(0, 1)
    result = blocks(chance, smaller(chance, result)).clamp(0, 1)
    return torch.lerp(result, image, chance.some(clean))
