"""The embedded network: a convolutional encoder with attention at its coarsest level and a decoder with skips.

About five million parameters, most of them where the picture is coarse and they cost little time: 320x192 px take some 15 ms on
two CPU cores.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .network_constants import CONFIDENCE_TOLERANCE


class Depthwise(nn.Conv2d):
    """A convolution of each channel by itself. On a CPU always in float32: in bfloat16 its gradients take twice the time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        if x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, active: bool = True) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    kind = Depthwise if groups == inputs > 1 else nn.Conv2d
    layers = [kind(inputs, outputs, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    if active:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Fused(nn.Module):
    """3x3 expansion and 1x1 projection (EfficientNetV2's block for the fine levels), with a residual where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expand: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(inputs, inputs * expand, 3, stride), conv(inputs * expand, outputs, 1, active=False))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return x + self.body(x) if self.residual else self.body(x)


class Inverted(nn.Module):
    """Depthwise convolution first, then a wide pointwise pair (as in ConvNeXt, with batch norm)."""

    def __init__(self, width: int, expand: int = 3, size: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(width, width, size, groups=width, active=False),
            conv(width, width * expand, 1),
            conv(width * expand, width, 1, active=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.body(x)


class Attention(nn.Module):
    """A transformer block over all positions of the coarsest level: where things stand in the whole picture."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, width * 3), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, width * 3), nn.ReLU(inplace=True), nn.Linear(width * 3, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, C) -> (B, N, C)."""
        b, n, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = torch.softmax(q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5, dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, n, c))
        return x + self.mlp(self.norm2(x))


def coordinates(x: torch.Tensor) -> torch.Tensor:
    """(B, 2, H, W): x and y from the middle of the picture, in units of half its height; by sums, so that any size exports."""
    ones = torch.ones_like(x[:, :1])
    across, down = torch.cumsum(ones, 3) - 0.5, torch.cumsum(ones, 2) - 0.5
    height, width = down[:, :, -1:, :] + 0.5, across[:, :, :, -1:] + 0.5
    return torch.cat([(2 * across - width) / height, 2 * down / height - 1], 1)


class HoldfastNet(nn.Module):
    """(B, 3, H, W) image, sides multiples of 32 -> (B, 2, H/2, W/2): log disparity up to a constant, log of its error scale."""

    def __init__(self, widths: tuple[int, ...] = (16, 40, 80, 176, 240), depths: tuple[int, ...] = (2, 5, 2, 4)) -> None:
        """widths: channels at 1/2 .. 1/32 of the picture's size; depths: blocks at 1/8, 1/16, 1/32, and of attention."""
        super().__init__()
        w2, w4, w8, w16, w32 = widths
        self.stem = conv(3, w2, 3, 2)
        self.level4 = nn.Sequential(Fused(w2, w4, 3, 2), Fused(w4, w4, 1))
        self.level8 = nn.Sequential(Fused(w4, w8, 3, 2), *(Inverted(w8) for _ in range(depths[0])))
        self.level16 = nn.Sequential(Fused(w8, w16, 3, 2), *(Inverted(w16) for _ in range(depths[1])))
        self.level32 = nn.Sequential(Fused(w16 + 2, w32, 1, 2), *(Inverted(w32) for _ in range(depths[2])))
        self.place = nn.Linear(2, w32)
        self.attention = nn.ModuleList(Attention(w32) for _ in range(depths[3]))
        self.up16, self.up8, self.up4 = conv(w32, w16, 1), conv(w16, w8, 1), conv(w8, w4, 1)
        self.join16 = nn.Sequential(Inverted(w16, 2), Inverted(w16, 2))
        self.join8 = nn.Sequential(Inverted(w8, 2), Inverted(w8, 2))
        self.join4 = nn.Sequential(Fused(w4, w4, 1), Inverted(w4, 2))
        self.head = nn.Sequential(conv(w4, 32, 3), nn.Conv2d(32, 8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x4 = self.level4(self.stem(x))
        x8 = self.level8(x4)
        x16 = self.level16(x8)
        x32 = self.level32(torch.cat([x16, coordinates(x16)], 1))
        tokens = x32.flatten(2).transpose(1, 2) + self.place(coordinates(x32).flatten(2).transpose(1, 2))
        for block in self.attention:
            tokens = block(tokens)
        y = x32 + tokens.transpose(1, 2).reshape(x32.shape)
        for up, skip, join in ((self.up16, x16, self.join16), (self.up8, x8, self.join8), (self.up4, x4, self.join4)):
            y = join(F.interpolate(up(y), scale_factor=2.0, mode="bilinear", align_corners=False) + skip)
        return F.pixel_shuffle(self.head(y), 2)


class Deployed(nn.Module):
    """What is exported: (disparity (1, 1, H/2, W/2), above zero and up to scale, confidence in 0..1 of the same shape).

    With `twice` the picture is looked at a second time in a mirror; the mean of both logarithms is less noisy than either, and
    where they disagree the error is likely to be about as large.
    """

    def __init__(self, network: HoldfastNet, error_gain: float = 1.0, twice: bool = False) -> None:
        """error_gain multiplies the predicted error scale: a calibration found on rendered pictures kept back."""
        super().__init__()
        self.network, self.error_gain, self.twice = network, error_gain, twice

    def log_disparity(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) with sides multiples of 32 -> ((B, 1, H/2, W/2) log disparity, error scale before calibration)."""
        out = self.network(image)
        if not self.twice:
            return out[:, :1], torch.exp(torch.clamp(out[:, 1:], -5.0, 3.0))
        mirrored = torch.flip(self.network(torch.flip(image, [3])), [3])
        scale = torch.exp(torch.clamp(0.5 * (out[:, 1:] + mirrored[:, 1:]), -5.0, 3.0))
        return 0.5 * (out[:, :1] + mirrored[:, :1]), scale + 0.25 * torch.abs(out[:, :1] - mirrored[:, :1])

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """image: (1, 3, H, W), normalised as the registry says."""
        log, scale = self.log_disparity(image)
        return torch.exp(torch.clamp(log, -6.0, 6.0)), 1.0 - torch.exp(-CONFIDENCE_TOLERANCE / (scale * self.error_gain))
