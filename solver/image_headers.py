"""Headers of image files: size, orientation, lens tags, pixel aspect; read without decoding the picture.

Kinds: PNG, JPEG, TIFF, EXR (and BMP, WebP as far as their size). What cannot be read is left None.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, replace
from typing import BinaryIO

Buffer = bytes | mmap.mmap
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


@dataclass(frozen=True)
class ImageHeader:
    """Width and height in px as stored, before `orientation` (EXIF, 1 = upright) is applied."""

    width: int | None = None
    height: int | None = None
    orientation: int = 1
    make: str = ""
    model: str = ""
    focal_mm: float | None = None
    focal_35mm: float | None = None  # 35 mm equivalent
    sensor_mm: float | None = None  # width, from the focal plane's resolution
    pixel_aspect: float = 1.0
    fps: float | None = None
    data_window: tuple[int, int, int, int] | None = None  # EXR: x0 y0 x1 y1, inclusive
    display_window: tuple[int, int, int, int] | None = None


def read_image_header(path: str) -> ImageHeader:
    """Read the header of an image; `ImageHeader()` for kinds it does not know or damaged files. Raises OSError only."""
    with open(path, "rb") as stream:
        magic = stream.read(16)
        stream.seek(0)
        try:
            if magic.startswith(b"\x89PNG\r\n\x1a\n"):
                return _png(stream)
            if magic.startswith(b"\xff\xd8"):
                return _jpeg(stream)
            if magic[:4] in (b"II*\0", b"MM\0*"):
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:  # the directory may lie at the end
                    return _tiff(data)
            if magic.startswith(b"\x76\x2f\x31\x01"):
                return _exr(stream)
            if magic.startswith(b"BM"):
                width, height = struct.unpack_from("<ii", stream.read(26), 18)
                return ImageHeader(width, abs(height))
        except (struct.error, ValueError, IndexError, UnicodeDecodeError):
            pass
    return ImageHeader()


def _png(stream: BinaryIO) -> ImageHeader:
    stream.seek(8)
    header = ImageHeader()
    while True:
        head = stream.read(8)
        if len(head) < 8:
            return header
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", stream.read(8))
            header = replace(header, width=width, height=height)
            stream.seek(length - 8 + 4, 1)
        elif kind == b"pHYs" and length == 9:
            per_x, per_y, _ = struct.unpack(">IIB", stream.read(9))
            if per_x and per_y:  # more pixels per metre across: each is narrower
                header = replace(header, pixel_aspect=per_y / per_x)
            stream.seek(4, 1)
        elif kind == b"eXIf":
            header = _exif(stream.read(length), header)
            stream.seek(4, 1)
        elif kind in (b"IDAT", b"IEND"):
            return header
        else:
            stream.seek(length + 4, 1)


def _jpeg(stream: BinaryIO) -> ImageHeader:
    stream.seek(2)
    header = ImageHeader()
    while True:
        marker = stream.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            return header
        code = marker[1]
        while code == 0xFF:
            code = stream.read(1)[0]
        if code == 0xD9 or code == 0xDA:
            return header
        if 0xD0 <= code <= 0xD8 or code == 0x01:
            continue
        length = struct.unpack(">H", stream.read(2))[0]
        if code == 0xE1:
            body = stream.read(length - 2)
            if body.startswith(b"Exif\0\0"):
                header = _exif(body[6:], header)
        elif 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", stream.read(5))
            return replace(header, width=width, height=height)
        else:
            stream.seek(length - 2, 1)


def _tiff(data: Buffer) -> ImageHeader:
    tags = _directory(data, struct.unpack_from(_order(data) + "I", data, 4)[0])
    header = _exif(data, ImageHeader(_first(tags, 0x100), _first(tags, 0x101)))
    x_res, y_res = _first(tags, 0x11A), _first(tags, 0x11B)
    if x_res and y_res:
        header = replace(header, pixel_aspect=y_res / x_res)
    return header


def _order(data: Buffer) -> str:
    return "<" if data[:2] == b"II" else ">"


def _directory(data: Buffer, offset: int) -> dict[int, list]:
    """The entries of one TIFF directory as lists of numbers or [text]."""
    order = _order(data)
    tags: dict[int, list] = {}
    (count,) = struct.unpack_from(order + "H", data, offset)
    for i in range(count):
        tag, kind, length, _ = struct.unpack_from(order + "HHII", data, offset + 2 + 12 * i)
        size = _TYPE_BYTES.get(kind, 0) * length
        if not size or size > 4096:
            continue
        start = offset + 2 + 12 * i + 8
        if size > 4:
            start = struct.unpack_from(order + "I", data, start)[0]
        raw = data[start : start + size]
        if len(raw) < size:
            continue
        if kind == 2:
            tags[tag] = [raw.split(b"\0")[0].decode("utf-8", "replace").strip()]
        elif kind in (5, 10):
            pairs = struct.unpack(order + ("II" if kind == 5 else "ii") * length, raw)
            tags[tag] = [a / b if b else 0.0 for a, b in zip(pairs[::2], pairs[1::2])]
        else:
            letter = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d"}[kind]
            tags[tag] = list(struct.unpack(order + letter * length, raw))
    return tags


def _first(tags: dict[int, list], tag: int):
    values = tags.get(tag)
    return values[0] if values else None


def _exif(data: Buffer, header: ImageHeader) -> ImageHeader:
    """Add what an EXIF block (a TIFF structure) says of orientation and lens."""
    try:
        main = _directory(data, struct.unpack_from(_order(data) + "I", data, 4)[0])
        pointer = _first(main, 0x8769)
        exif = _directory(data, int(pointer)) if pointer else {}
    except (struct.error, IndexError):
        return header
    orientation = _first(main, 0x112)
    result = replace(
        header,
        orientation=orientation if orientation in range(1, 9) else 1,
        make=str(_first(main, 0x10F) or ""),
        model=str(_first(main, 0x110) or ""),
        focal_mm=float(_first(exif, 0x920A) or 0) or None,
        focal_35mm=float(_first(exif, 0xA405) or 0) or None,
    )
    plane_res, plane_unit, pixels = _first(exif, 0xA20E), _first(exif, 0xA210), _first(exif, 0xA002)
    millimetres = {2: 25.4, 3: 10.0, 4: 1.0}.get(plane_unit or 2)
    if plane_res and pixels and millimetres:
        result = replace(result, sensor_mm=pixels / plane_res * millimetres)
    return result


def _exr(stream: BinaryIO) -> ImageHeader:
    """Attributes of the first part of an OpenEXR file (name, type, size, value; ends with an empty name)."""
    stream.seek(8)
    data = stream.read(1 << 16)
    if len(data) == 1 << 16 and b"\0screenWindowWidth\0" not in data:  # a long header, with a preview in it
        data += stream.read(1 << 22)
    position, values = 0, {}
    while data[position]:
        name_end = data.index(b"\0", position)
        type_end = data.index(b"\0", name_end + 1)
        (size,) = struct.unpack_from("<I", data, type_end + 1)
        start = type_end + 5
        values[data[position:name_end].decode()] = (data[name_end + 1 : type_end], data[start : start + size])
        position = start + size

    def get(name: str, kind: bytes, layout: str):
        found = values.get(name)
        return struct.unpack(layout, found[1]) if found and found[0] == kind else None

    window, display = get("dataWindow", b"box2i", "<4i"), get("displayWindow", b"box2i", "<4i")
    aspect, rate = get("pixelAspectRatio", b"float", "<f"), get("framesPerSecond", b"rational", "<iI")
    focal = None
    for name in ("pinholeFocalLength", "effectiveFocalLength", "nominalFocalLength"):
        value = get(name, b"float", "<f")
        focal = focal or (value[0] if value and value[0] > 0 else None)

    def text(name: str) -> str:
        found = values.get(name)
        return found[1].decode("utf-8", "replace").strip("\0 ") if found and found[0] == b"string" else ""

    return ImageHeader(
        width=window[2] - window[0] + 1 if window else None,
        height=window[3] - window[1] + 1 if window else None,
        make=text("cameraMake"),
        model=text("cameraModel"),
        focal_mm=focal,
        pixel_aspect=aspect[0] if aspect and 0.1 < aspect[0] < 10 else 1.0,
        fps=rate[0] / rate[1] if rate and rate[1] else None,
        data_window=window,
        display_window=display,
    )
