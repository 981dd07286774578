"""Exact synthetic shots and small media files for the tests of reading and writing."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from solver.types import AlignedDepth, Camera, ClipInfo, Solution, Tracks, Verdict


def rotation(axis_angle) -> np.ndarray:
    """(3, 3) rotation matrix."""
    return cv2.Rodrigues(np.asarray(axis_angle, float))[0]


def project(camera: Camera, focal, cam_from_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P, 2) px of world points: OpenCV camera, radial distortion, first pixel's centre at 0.5. focal: (fx, fy)."""
    local = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    x, y = local[:, 0] / local[:, 2], local[:, 1] / local[:, 2]
    r2 = x * x + y * y
    factor = 1 + camera.k1 * r2 + camera.k2 * r2 * r2
    return np.stack([focal[0] * factor * x + camera.cx, focal[1] * factor * y + camera.cy], -1)


def make_solution(
    frames=range(7), k1=-0.08, k2=0.0, zoom=False, pixel_aspect=1.0, size=(640, 360), seed=3, path="shot.mp4", points=60
) -> Solution:
    """A camera on a curved path before a cloud of points; every observation is exact."""
    rng = np.random.default_rng(seed)
    numbers = np.array(list(frames))
    width, height = size
    camera = Camera(width, height, width / 2 + 3.25, height / 2 - 1.5, k1, k2)
    focal_px = np.linspace(500, 560, len(numbers)) if zoom else np.full(len(numbers), 520.0)
    cam_from_world = np.zeros((len(numbers), 4, 4))
    for i in range(len(numbers)):
        pose = np.eye(4)
        pose[:3, :3] = rotation([0.02 * i, 0.05 * i - 0.1, 0.01 * i])
        pose[:3, 3] = [0.1 * i, -0.03 * i, 0.2 + 0.02 * i]
        cam_from_world[i] = pose
    xyz = np.stack([rng.uniform(-1.2, 1.2, points), rng.uniform(-0.7, 0.7, points), rng.uniform(4, 9, points)], -1)
    clip = ClipInfo(
        path, width, height, 24.0, int(numbers[0]), tuple(int(n) for n in numbers), pixel_aspect=pixel_aspect,
        frame_count=len(numbers), is_sequence=not path.endswith("mp4"),
    )  # fmt: skip
    tracks = points + 2  # the first and the last track have no point
    track, index, xy = [], [], []
    for n in range(tracks):
        for i in range(len(numbers)):
            focal = (focal_px[i], focal_px[i] * pixel_aspect)
            spot = project(camera, focal, cam_from_world[i], xyz[[min(max(n - 1, 0), points - 1)]])[0]
            if 0 < spot[0] < width and 0 < spot[1] < height:
                track.append(n), index.append(i), xy.append(spot)
    track, index, xy = np.array(track, np.int32), np.array(index, np.int32), np.array(xy)
    sigma, elongation = np.full(len(track), 0.1, np.float32), rng.normal(size=(len(track), 2)).astype(np.float32)
    lengths = np.bincount(track, minlength=tracks)
    label = np.zeros(tracks, np.uint8)
    label[0] = 1
    depth = np.linspace(4, 9, 48 * 32, dtype=np.float32).reshape(32, 48)
    depth[0, 0] = np.nan
    verdict = Verdict(
        "good", "The camera is solved.", "free", True, "measured", (510.0, 531.0), "measured", "helped", 0.21,
        ("It was bright.", "Nothing moved."), ({"model": "free+radial1", "held_out_px": 0.21, "won": True, "why": "simplest"},),
    )  # fmt: skip
    return Solution(
        clip, camera, numbers, cam_from_world, focal_px, np.full(len(numbers), 0.2), np.bincount(index, minlength=len(numbers)),
        xyz, np.arange(1, points + 1), rng.integers(0, 256, (points, 3), dtype=np.uint8), np.full(points, 0.2), lengths[1:-1],
        np.full(points, 0.01), Tracks(numbers, track, index, xy, sigma, tracks, elongation), label,
        label == 9, (int(numbers[0]), int(numbers[-1])), (AlignedDepth(int(numbers[0]), depth, None, 2.0, 0.1, 0.05),), verdict,
        True, {"held_out_px": np.float64(0.21), "worst": float("nan")}, ("First.",), {"track": 1.5}, {"name": "none"},
    )  # fmt: skip


def picture(i: int, size=(160, 96)) -> np.ndarray:
    """A frame that tells its number: a bar whose place is the number, and a red corner at the top left."""
    image = np.full((size[1], size[0], 3), 40, np.uint8)
    image[: size[1] // 4, : size[0] // 4] = (0, 0, 255)
    image[size[1] // 2 :, 4 * i : 4 * i + 4] = 255
    return image


def write_movie(path: Path, count: int, size=(160, 96), fps: float = 25.0, fourcc: str = "mp4v") -> Path:
    """A small movie of `picture`s."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), fps, size)
    for i in range(count):
        writer.write(picture(i, size))
    writer.release()
    return path


def rotate_by_metadata(source: Path, target: Path, degrees: int) -> Path:
    """Copy a movie with the display matrix of its track set to a clockwise turn."""
    data = source.read_bytes()
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    one = 1 << 16
    cos, sin = {90: (0, one), 180: (-one, 0), 270: (0, -one)}[degrees]
    target.write_bytes(data[:at] + struct.pack(">9i", cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30) + data[at + 36 :])
    return target


def write_odd_avi(path: Path, count: int, size=(161, 97)) -> Path:
    """A Motion JPEG AVI of odd size, written by hand: OpenCV's writer rounds to even."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)

    width, height = size
    jpegs = [cv2.imencode(".jpg", picture(i, size))[1].tobytes() for i in range(count)]
    avih = struct.pack("<14I", 40000, 0, 0, 0x10, count, 0, 1, 0, width, height, 0, 0, 0, 0)
    strh = b"vidsMJPG" + struct.pack("<IHHIIIIIIII4H", 0, 0, 0, 0, 1, 25, 0, count, 0, 0xFFFFFFFF, 0, 0, 0, width, height)
    strf = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    strl = chunk(b"LIST", b"strl" + chunk(b"strh", strh) + chunk(b"strf", strf))
    movi, index = b"movi", b""
    for jpeg in jpegs:
        index += b"00dc" + struct.pack("<III", 0x10, len(movi), len(jpeg))
        movi += chunk(b"00dc", jpeg)
    body = b"AVI " + chunk(b"LIST", b"hdrl" + chunk(b"avih", avih) + strl) + chunk(b"LIST", movi) + chunk(b"idx1", index)
    path.write_bytes(chunk(b"RIFF", body))
    return path


def exif_block(orientation: int = 1, make: str = "Canon", model: str = "", focal_mm: float = 0, focal_35mm: int = 0) -> bytes:
    """A little-endian EXIF (TIFF) block."""

    def entry(tag: int, kind: int, value) -> tuple[int, int, int, bytes]:
        if kind == 2:
            raw = value.encode() + b"\0"
            return tag, 2, len(raw), raw
        if kind == 5:
            return tag, 5, 1, struct.pack("<II", round(value * 1000), 1000)
        return tag, kind, 1, struct.pack("<H" if kind == 3 else "<I", value)

    def directory(entries, offset: int) -> bytes:
        head, tail = struct.pack("<H", len(entries)), b""
        after = offset + 2 + 12 * len(entries) + 4
        for tag, kind, count, raw in entries:
            head += struct.pack("<HHI", tag, kind, count)
            if len(raw) <= 4:
                head += raw.ljust(4, b"\0")
            else:
                head += struct.pack("<I", after + len(tail))
                tail += raw
        return head + b"\0\0\0\0" + tail

    main = [entry(0x10F, 2, make), entry(0x110, 2, model), entry(0x112, 3, orientation), entry(0x8769, 4, 0)]
    exif = ([entry(0x920A, 5, focal_mm)] if focal_mm else []) + ([entry(0xA405, 3, focal_35mm)] if focal_35mm else [])
    length = len(directory(main, 8))
    main[3] = entry(0x8769, 4, 8 + length)
    return b"II*\0" + struct.pack("<I", 8) + directory(main, 8) + directory(exif, 8 + length)


def add_exif(jpeg: Path, block: bytes) -> Path:
    """Put an EXIF block into a JPEG file."""
    data = jpeg.read_bytes()
    body = b"Exif\0\0" + block
    jpeg.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
    return jpeg
