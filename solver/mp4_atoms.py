"""A small reader of MP4 / QuickTime atoms: what FFmpeg through OpenCV does not tell.

Read are the number of frames the index lists, whether the file holds all of them, whether every frame lasts equally long,
and the text and number tags (iTunes/QuickTime `keys` + `ilst`, `udta`, XMP). Media data is never touched.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"edts")
_MAX_ATOM_BYTES = 32 << 20  # index atoms of hour-long movies stay far below this


@dataclass(frozen=True)
class MovieTags:
    """What the atoms of a movie say. `frame_count` is None where the index cannot be trusted to give it."""

    frame_count: int | None = None
    constant_rate: bool = False
    complete: bool = True  # every top-level atom ends inside the file
    tags: dict[str, str | float] = field(default_factory=dict)


@dataclass
class _Track:
    handler: bytes = b""
    samples: int = 0
    deltas: set = field(default_factory=set)
    media_duration: int = 0
    media_timescale: int = 0
    edits: list = field(default_factory=list)  # (segment duration in movie time, media time)


def read_movie_tags(path: str) -> MovieTags:
    """Read the atoms of `path`; a file of another kind gives an empty `MovieTags`. Never raises on damaged atoms."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(12)
            if len(head) < 12 or head[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
                return MovieTags()
            return _read(stream, size)
    except (OSError, struct.error, ValueError, IndexError):
        return MovieTags()


def _read(stream: BinaryIO, size: int) -> MovieTags:
    tracks: list[_Track] = []
    tags: dict[str, str | float] = {}
    movie = {"timescale": 0, "fragmented": False}
    complete = True
    for kind, start, end in _atoms(stream, 0, size):
        if end > size:
            complete = False
        if kind == b"moof":
            movie["fragmented"] = True
        elif kind == b"moov":
            _walk(stream, start, min(end, size), tracks, tags, movie)
        elif kind == b"uuid" and end <= size and end - start < _MAX_ATOM_BYTES:
            stream.seek(start + 16)
            _read_xmp(stream.read(end - start - 16), tags)
    video = [track for track in tracks if track.handler == b"vide" and track.samples]
    if len(video) != 1 or not complete or movie["fragmented"] or not _shows_all_samples(video[0], movie["timescale"]):
        return MovieTags(None, False, complete, tags)
    return MovieTags(video[0].samples, len(video[0].deltas) == 1, complete, tags)


def _atoms(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte of the contents, end) of each atom; the last end lies beyond `end` where the file is cut."""
    position = start
    while position + 8 <= end:
        stream.seek(position)
        length, kind = struct.unpack(">I4s", stream.read(8))
        header = 8
        if length == 1:
            length = struct.unpack(">Q", stream.read(8))[0]
            header = 16
        elif length == 0:
            length = end - position
        if length < header:
            return
        yield kind, position + header, position + length
        position += length


def _walk(stream: BinaryIO, start: int, end: int, tracks: list[_Track], tags: dict, movie: dict) -> None:
    for kind, first, last in _atoms(stream, start, end):
        if last > end:
            return
        if kind == b"trak":
            tracks.append(_Track())
        if kind in _CONTAINERS:
            _walk(stream, first, last, tracks, tags, movie)
            if kind == b"udta":
                _read_user_data(stream, first, last, tags)
            continue
        if last - first > _MAX_ATOM_BYTES:
            continue
        if kind == b"meta":
            _read_meta(stream, first, last, tags)
        elif kind == b"mvex":
            movie["fragmented"] = True
        elif kind in (b"mvhd", b"mdhd", b"hdlr", b"stts", b"elst"):
            stream.seek(first)
            _read_header_atom(kind, stream.read(last - first), tracks, movie)


def _read_header_atom(kind: bytes, data: bytes, tracks: list[_Track], movie: dict) -> None:
    long = data[0] == 1  # version 1 has 64-bit times
    if kind == b"mvhd":
        movie["timescale"] = struct.unpack_from(">I", data, 20 if long else 12)[0]
    if not tracks:
        return
    track = tracks[-1]
    if kind == b"mdhd":
        track.media_timescale, track.media_duration = struct.unpack_from(">IQ" if long else ">II", data, 20 if long else 12)
    elif kind == b"hdlr" and data[4:8] != b"dhlr" and not track.handler:
        track.handler = data[8:12]
        # QuickTime's media handlers say 'mhlr' at 4; ISO files leave zeros there. Data handlers ('dhlr') come later.
    elif kind == b"stts":
        entries = struct.unpack_from(">I", data, 4)[0]
        runs = [struct.unpack_from(">II", data, 8 + 8 * i) for i in range(entries)]
        track.samples = sum(count for count, _ in runs)
        if len(runs) > 1 and runs[-1][0] == 1:
            runs = runs[:-1]  # many writers give the last frame another duration: it changes no frame's place
        track.deltas = {delta for _, delta in runs}
    elif kind == b"elst":
        entries = struct.unpack_from(">I", data, 4)[0]
        layout, width = (">Qq", 20) if long else (">Ii", 12)
        track.edits = [struct.unpack_from(layout, data, 8 + width * i) for i in range(entries)]


def _shows_all_samples(track: _Track, movie_timescale: int) -> bool:
    """True when the edit list hides no frame (an entry that only skips the delay of B-frames is harmless)."""
    edits = [edit for edit in track.edits if edit[1] >= 0]
    if not edits:
        return True
    if len(edits) > 1 or not movie_timescale or not track.media_timescale or not track.samples:
        return False
    frame_s = track.media_duration / track.media_timescale / track.samples
    shown_s = edits[0][0] / movie_timescale
    skipped_s = edits[0][1] / track.media_timescale
    return abs(shown_s - track.media_duration / track.media_timescale) < 0.5 * frame_s and skipped_s < 4.5 * frame_s


def _read_user_data(stream: BinaryIO, start: int, end: int, tags: dict) -> None:
    """QuickTime user data: make, model and an XMP packet."""
    names = {b"\xa9mak": "make", b"\xa9mod": "model", b"manu": "make", b"modl": "model"}
    for kind, first, last in _atoms(stream, start, end):
        if last > end or last - first > _MAX_ATOM_BYTES or (kind not in names and kind != b"XMP_"):
            continue
        stream.seek(first)
        data = stream.read(last - first)
        if kind == b"XMP_":
            _read_xmp(data, tags)
        elif kind.startswith(b"\xa9") and len(data) > 4:
            length = struct.unpack_from(">H", data)[0]
            tags.setdefault(names[kind], data[4 : 4 + length].decode("utf-8", "replace").strip("\0 "))
        else:
            tags.setdefault(names[kind], data[6:].decode("utf-8", "replace").strip("\0 "))


def _read_meta(stream: BinaryIO, start: int, end: int, tags: dict) -> None:
    """`meta` with `keys` and `ilst`: QuickTime has no version field before its children, ISO has four bytes."""
    stream.seek(start)
    head = stream.read(8)
    if head[:4] == b"\0\0\0\0" and head[4:] != b"hdlr":
        start += 4
    keys: list[str] = []
    for kind, first, last in _atoms(stream, start, end):
        if last > end:
            return
        stream.seek(first)
        if kind == b"keys":
            data = stream.read(last - first)
            count = struct.unpack_from(">I", data, 4)[0]
            position = 8
            for _ in range(count):
                length = struct.unpack_from(">I", data, position)[0]
                keys.append(data[position + 8 : position + length].decode("utf-8", "replace"))
                position += max(length, 8)
        elif kind == b"ilst":
            for item, item_first, item_last in _atoms(stream, first, last):
                index = struct.unpack(">I", item)[0]
                if not 1 <= index <= len(keys):
                    continue
                for sub, sub_first, sub_last in _atoms(stream, item_first, item_last):
                    if sub == b"data" and sub_last <= item_last:
                        stream.seek(sub_first)
                        value = _value(stream.read(sub_last - sub_first))
                        if value is not None:
                            tags.setdefault(keys[index - 1], value)


def _value(data: bytes) -> str | float | None:
    """The value of a `data` atom by its well-known type (QuickTime File Format, "Well-known types")."""
    kind, body = struct.unpack_from(">I", data)[0] & 0xFFFFFF, data[8:]
    if kind == 1:
        return body.decode("utf-8", "replace")
    if kind == 2:
        return body.decode("utf-16-be", "replace")
    if kind in (21, 65, 66, 67, 74) and body:
        return float(int.from_bytes(body, "big", signed=True))
    if kind in (22, 75, 76, 77, 78) and body:
        return float(int.from_bytes(body, "big"))
    if kind == 23 and len(body) == 4:
        return struct.unpack(">f", body)[0]
    if kind == 24 and len(body) == 8:
        return struct.unpack(">d", body)[0]
    return None


def _read_xmp(data: bytes, tags: dict) -> None:
    """The few fields of an XMP packet that tell the lens."""
    fields = {
        "focal_length_35mm": rb"FocalLengthIn35mm(?:Film|Format)[^0-9<\"]*[=>][\"']?(\d+(?:\.\d+)?(?:/\d+)?)",
        "focal_length_mm": rb"FocalLength[\"']?\s*[=>]\s*[\"']?(\d+(?:\.\d+)?(?:/\d+)?)",
        "make": rb"tiff:Make\s*[=>]\s*[\"']?([^\"'<]+)",
        "model": rb"tiff:Model\s*[=>]\s*[\"']?([^\"'<]+)",
    }
    for name, pattern in fields.items():
        match = re.search(pattern, data)
        if match:
            text = match.group(1).decode("utf-8", "replace")
            if name.startswith("focal"):
                numerator, _, denominator = text.partition("/")
                if float(denominator or 1):
                    tags.setdefault(name, float(numerator) / float(denominator or 1))
            else:
                tags.setdefault(name, text.strip())
