"""Numbered image sequences: finding their files, and decoding single images to 8-bit BGR.

Linear pictures (EXR, floating-point TIFF) get one exposure for the whole clip, so that a surface keeps its brightness from
frame to frame, then the sRGB curve.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's own chatter; what matters is reported by us

import cv2
import numpy as np

from .errors import EXIT_INPUT, HoldfastError
from .image_headers import ImageHeader, read_image_header

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr", ".bmp", ".webp")
_NUMBERED = re.compile(r"^(.*?)(\d+)(\D*)$")
_ORIENTATION = {  # EXIF orientation -> (rotation, mirrored before it)
    1: (None, False),
    2: (None, True),
    3: (cv2.ROTATE_180, False),
    4: (cv2.ROTATE_180, True),
    5: (cv2.ROTATE_90_COUNTERCLOCKWISE, True),
    6: (cv2.ROTATE_90_CLOCKWISE, False),
    7: (cv2.ROTATE_90_CLOCKWISE, True),
    8: (cv2.ROTATE_90_COUNTERCLOCKWISE, False),
}


@dataclass(frozen=True)
class SequenceFiles:
    """The files of one sequence, by their own numbers."""

    pattern: str  # path with #### where the number stands
    files: dict[int, str]
    missing: tuple[int, ...]
    stride: int = 1  # numbers step by this where they do so throughout
    others: tuple[str, ...] = ()  # patterns of further sequences in the same folder


def find_sequence(path: str) -> SequenceFiles | None:
    """The sequence that `path` names: a folder, one file of it, or a pattern with %04d or ####.

    None when `path` is none of these (a movie, or nothing at all). Raises HoldfastError for a folder without images.
    """
    if os.path.isdir(path):
        groups = _group(Path(path))
        if not groups:
            raise HoldfastError(
                "clip.no_images",
                f"The folder {path} holds no numbered images.",
                "Give a folder of PNG, JPEG, TIFF or EXR files whose names end in a frame number, or a movie file.",
                EXIT_INPUT,
            )
        keys = sorted(groups, key=lambda key: (-len(groups[key]), key))
        return _sequence(Path(path), keys[0], groups[keys[0]], tuple(_pattern(Path(path), key) for key in keys[1:]))
    folder, name = os.path.split(path)
    folder_path = Path(folder or ".")
    if os.path.isfile(path):
        if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
            return None
        match = _NUMBERED.match(name)
        if not match:
            return SequenceFiles(path, {0: path}, ())
        key = (match.group(1), match.group(3))
        return _sequence(folder_path, key, _group(folder_path)[key], ())
    match = re.match(r"^(.*?)(%0?\d*d|#+|@+)(.*)$", name)
    if match:
        key = (match.group(1), match.group(3))
        files = _group(folder_path, any_suffix=True).get(key) if folder_path.is_dir() else None
        if not files:
            raise HoldfastError(
                "clip.missing", f"No file matches {path}.", "Check the folder, the name and the ending of the files.", EXIT_INPUT
            )
        return _sequence(folder_path, key, files, ())
    return None


def _group(folder: Path, any_suffix: bool = False) -> dict[tuple[str, str], dict[int, str]]:
    """Files of a folder by (text before the number, text after it); the number is the last one in the name."""
    groups: dict[tuple[str, str], dict[int, str]] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        stem, suffix = os.path.splitext(entry.name)
        if entry.name.startswith(".") or not (any_suffix or suffix.lower() in IMAGE_SUFFIXES) or not entry.is_file():
            continue
        match = re.match(r"^(.*?)(\d+)(\D*)$", stem)
        if match:
            key = (match.group(1), match.group(3) + suffix)
            groups.setdefault(key, {}).setdefault(int(match.group(2)), entry.path)
    return groups


def _pattern(folder: Path, key: tuple[str, str], digits: int = 4) -> str:
    return str(folder / f"{key[0]}{'#' * digits}{key[1]}")


def _sequence(folder: Path, key: tuple[str, str], files: dict[int, str], others: tuple[str, ...]) -> SequenceFiles:
    numbers = sorted(files)
    gaps = np.diff(numbers) if len(numbers) > 1 else np.array([1])
    stride = int(gaps.min())
    if (gaps % stride).any() or np.mean(gaps == stride) < 0.5:
        stride = 1  # not a rule of the numbering, just holes
    missing = tuple(n for n in range(numbers[0], numbers[-1] + 1, stride) if n not in files)
    lengths = Counter(len(Path(name).name) - len(key[0]) - len(key[1]) for name in files.values())
    return SequenceFiles(
        _pattern(folder, key, lengths.most_common(1)[0][0]), dict(sorted(files.items())), missing, stride, others
    )


@dataclass(frozen=True)
class ImageSize:
    """Size as displayed, and the header it comes from."""

    width: int
    height: int
    header: ImageHeader


def check_sizes(files: dict[int, str]) -> ImageSize:
    """Size that all files share, from their headers. Raises HoldfastError for missing data or differing sizes."""
    first: ImageSize | None = None
    for number, path in files.items():
        try:
            if os.path.getsize(path) == 0:
                raise HoldfastError(
                    "clip.empty_file",
                    f"{path} is empty (0 bytes).",
                    "Copy or render this frame again, or remove the file.",
                    EXIT_INPUT,
                )
            header = read_image_header(path)
        except OSError as error:
            raise HoldfastError(
                "clip.unreadable_image",
                f"Frame {number} cannot be read: {path} ({error.strerror}).",
                "Check that the file exists and that you may read it.",
                EXIT_INPUT,
            ) from error
        if header.width is None or header.height is None:
            image = decode_image(path, None, None, number)
            size = ImageSize(image.shape[1], image.shape[0], header)
        else:
            width, height = header.width, header.height
            if header.display_window:
                x0, y0, x1, y1 = header.display_window
                width, height = x1 - x0 + 1, y1 - y0 + 1
            size = ImageSize(*((height, width) if header.orientation >= 5 else (width, height)), header)
        if first is None:
            first = size
        elif (size.width, size.height) != (first.width, first.height):
            raise HoldfastError(
                "clip.sizes_differ",
                f"Frame {number} is {size.width}x{size.height}, the frames before it are {first.width}x{first.height}: {path}",
                "Give a sequence whose images all have one size, or choose a part of it with --start and --end.",
                EXIT_INPUT,
            )
    assert first is not None
    return first


def load_image(path: str, number: int) -> np.ndarray:
    """The pixels of one image exactly as stored. Raises HoldfastError (clip.unreadable_image) when they cannot be decoded."""
    image = None
    try:
        if path.isascii():
            image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        else:  # OpenCV's own opening of files knows only the local code page on Windows
            image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, OSError, MemoryError):
        image = None
    if image is None:
        raise HoldfastError(
            "clip.unreadable_image",
            f"Frame {number} cannot be decoded: {path}",
            "Render or copy this frame again, or leave it out by removing the file or with --start and --end.",
            EXIT_INPUT,
        )
    return image


def is_linear(image: np.ndarray) -> bool:
    """True for floating-point pictures: light, not display values."""
    return image.dtype in (np.float32, np.float64, np.float16)


def measure_gain(images: list[np.ndarray]) -> float:
    """One exposure for a linear clip from a few of its pictures: 1 where they are well exposed already.

    The median luminance is brought to middle grey (0.18) when it lies outside 0.04 to 0.5.
    """
    samples = []
    for image in images:
        light = image[::4, ::4, :3].mean(-1) if image.ndim == 3 else image[::4, ::4]
        samples.append(light[np.isfinite(light) & (light > 0)].ravel())
    light = np.concatenate(samples) if samples else np.zeros(0)
    middle = float(np.median(light)) if light.size else 0.18
    return 1.0 if 0.04 <= middle <= 0.5 else float(np.clip(0.18 / middle, 1e-4, 1e4))


def tone_table(gain: float) -> np.ndarray:
    """(65536,) uint8: half-float bit pattern of a linear value to display value, by gain, a soft shoulder and the sRGB curve.

    Above 0.7 the curve bends so that light up to 16 times white keeps some difference: highlights stay trackable.
    """
    with np.errstate(all="ignore"):
        light = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float64) * gain
        light = np.nan_to_num(light, nan=0.0, posinf=1e9, neginf=0.0)
        knee, top = 0.7, 16.0
        over = np.log1p(np.maximum(light - knee, 0) / (1 - knee)) / np.log1p((top - knee) / (1 - knee))
        light = np.where(light > knee, knee + (1 - knee) * over, light)
        light = np.clip(light, 0, 1)
        display = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(display * 255).astype(np.uint8)


def to_display(image: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """(H, W, 3) uint8 BGR from any depth and number of channels.

    Alpha of display-coded images composites over black; linear images are taken as premultiplied, as EXR defines them.
    """
    if is_linear(image):
        with np.errstate(over="ignore"):
            half = np.ascontiguousarray(image[..., :3] if image.ndim == 3 else image, dtype=np.float16)
        image = (tone_table(1.0) if table is None else table)[half.view(np.uint16)]
    elif image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257.0)
    elif image.dtype != np.uint8:
        image = np.clip(image, 0, 255).astype(np.uint8)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 1:
        return cv2.cvtColor(image[..., 0], cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 2:  # grey with alpha
        return cv2.cvtColor(cv2.multiply(image[..., 0], image[..., 1], scale=1 / 255), cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        alpha = image[..., 3]
        colour = np.ascontiguousarray(image[..., :3])
        if int(alpha.min()) == 255:
            return colour
        return cv2.multiply(colour, cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)
    return np.ascontiguousarray(image[..., :3])


def place(image: np.ndarray, header: ImageHeader) -> np.ndarray:
    """Apply what the header says of the picture's place: EXR display window (overscan is cut off), EXIF orientation."""
    if header.display_window and header.data_window and header.display_window != header.data_window:
        dx0, dy0, dx1, dy1 = header.display_window
        x0, y0 = header.data_window[:2]
        canvas = np.zeros((dy1 - dy0 + 1, dx1 - dx0 + 1, *image.shape[2:]), image.dtype)
        left, top = max(x0, dx0), max(y0, dy0)
        right, bottom = min(x0 + image.shape[1], dx1 + 1), min(y0 + image.shape[0], dy1 + 1)
        if right > left and bottom > top:
            canvas[top - dy0 : bottom - dy0, left - dx0 : right - dx0] = image[top - y0 : bottom - y0, left - x0 : right - x0]
        image = canvas
    rotation, mirrored = _ORIENTATION[header.orientation]
    if mirrored:
        image = cv2.flip(image, 1)
    return image if rotation is None else cv2.rotate(image, rotation)


def decode_image(path: str, size: tuple[int, int] | None, table: np.ndarray | None, number: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR of one frame. `size` (width, height) px is checked when given. Raises HoldfastError."""
    image = place(to_display(load_image(path, number), table), read_image_header(path))
    if size and (image.shape[1], image.shape[0]) != size:
        raise HoldfastError(
            "clip.sizes_differ",
            f"Frame {number} is {image.shape[1]}x{image.shape[0]}, not {size[0]}x{size[1]}: {path}",
            "Give a sequence whose images all have one size.",
            EXIT_INPUT,
        )
    return image
