"""A small writer of OpenEXR files with 32-bit float channels, ZIP compressed: depth belongs in a channel called Z.

OpenCV can only write colour channels. The layout is that of the OpenEXR file format description (scan lines, single part).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_LINES = 16  # scan lines in a block of ZIP compression


def _attribute(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def _packed(raw: bytes) -> bytes:
    """A block as ZIP stores it: first all even bytes, then all odd ones, as differences; raw where that is no smaller."""
    data = np.frombuffer(raw, np.uint8)
    halves = np.concatenate([data[0::2], data[1::2]])
    # each byte minus the one before, plus 128
    differences = np.concatenate([halves[:1], halves[1:] - halves[:-1] + np.uint8(128)])
    packed = zlib.compress(differences.tobytes(), 4)
    return packed if len(packed) < len(raw) else raw


def exr_bytes(channels: dict[str, np.ndarray], attributes: dict[str, str] | None = None) -> bytes:
    """An EXR of (h, w) float32 planes by channel name, top row first; attributes: further text to keep in the header."""
    names = sorted(channels)
    planes = [np.ascontiguousarray(channels[n], "<f4") for n in names]
    h, w = planes[0].shape
    window = struct.pack("<4i", 0, 0, w - 1, h - 1)
    listed = b"".join(n.encode() + b"\0" + struct.pack("<iB3xii", 2, 0, 1, 1) for n in names) + b"\0"
    head = struct.pack("<ii", 20000630, 2)
    head += _attribute("channels", "chlist", listed)
    head += _attribute("compression", "compression", b"\3")
    head += _attribute("dataWindow", "box2i", window)
    head += _attribute("displayWindow", "box2i", window)
    head += _attribute("lineOrder", "lineOrder", b"\0")
    head += _attribute("pixelAspectRatio", "float", struct.pack("<f", 1.0))
    head += _attribute("screenWindowCenter", "v2f", struct.pack("<ff", 0.0, 0.0))
    head += _attribute("screenWindowWidth", "float", struct.pack("<f", 1.0))
    for name, text in (attributes or {}).items():
        head += _attribute(name, "string", text.encode())
    head += b"\0"
    blocks = []
    for top in range(0, h, _LINES):
        # within a block: line by line, and in each line channel by channel
        lines = np.stack([plane[top : top + _LINES] for plane in planes], 1)
        packed = _packed(lines.tobytes())
        blocks.append(struct.pack("<ii", top, len(packed)) + packed)
    offsets = np.cumsum([len(head) + 8 * len(blocks)] + [len(b) for b in blocks[:-1]])
    return head + offsets.astype("<u8").tobytes() + b"".join(blocks)


def write_depth_exr(path: Path, depth: np.ndarray, unit: str) -> None:
    """(h, w) z-depth as channel Z, unknown as 0; unit: what its numbers are, kept in the header. Raises OSError.

    The same numbers stand in a channel Y, because programs that load pictures (Blender's image editor, OpenCV) ignore a lone Z.
    """
    plane = np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)
    path.write_bytes(exr_bytes({"Y": plane, "Z": plane}, {"depthUnit": unit, "software": "Holdfast"}))
