"""User masks: what must not be tracked. White, or opaque where the mask has transparency, means "ignore"."""

from __future__ import annotations

import os
import threading

from . import sequence as seq
from .clip import MovieReader, open_clip

import cv2  # isort: skip
import numpy as np  # isort: skip

from .errors import EXIT_INPUT, HoldfastError
from .types import ClipInfo, Progress


def open_masks(path: str, clip: ClipInfo, progress: Progress | None = None) -> Masks:
    """Open masks for a clip: a folder or sequence of images, a movie, or one still that holds for every frame.

    A sequence is matched by frame number; when its numbers are not the clip's, its images are taken in order if there is one for
    each of the clip's frames. A movie's first frame belongs to the clip's first frame. Raises HoldfastError (codes mask.*).
    """
    try:
        return _open(path, clip, progress)
    except HoldfastError as error:
        if error.code.startswith("clip."):
            code = "mask." + error.code.removeprefix("clip.")
            raise HoldfastError(code, f"The mask cannot be used. {error.message}", error.hint, EXIT_INPUT) from error
        raise


def _open(path: str, clip: ClipInfo, progress: Progress | None) -> Masks:
    path = os.path.expanduser(path)
    size = (clip.width, clip.height)
    files = seq.find_sequence(path) if os.path.isdir(path) or not _is_lone_still(path) else seq.SequenceFiles(path, {0: path}, ())
    if files is None:
        reader = open_clip(path, progress=None, min_frames=1)
        have = set(reader.info.frames)
        by_frame = {n: n - clip.frame_start for n in clip.frames if n - clip.frame_start in have}
        _check_cover(by_frame, clip, path, progress)
        return MovieMasks(reader, by_frame, size)
    if len(files.files) == 1:
        return StillMask(next(iter(files.files.values())), size)
    shared = [n for n in clip.frames if n in files.files]
    by_frame = {n: files.files[n] for n in shared}
    if len(files.files) in (clip.frame_count, len(clip.frames)) and len(shared) < len(clip.frames):
        # as many masks as pictures under other numbers: they mean the same frames, in order
        every = list(range(clip.frame_start, clip.frame_start + clip.frame_count))
        numbers = every if len(files.files) == len(every) and not clip.missing else list(clip.frames)
        ordered = dict(zip(numbers, files.files.values(), strict=False))
        by_frame = {n: ordered[n] for n in clip.frames if n in ordered}
        if progress is not None:
            progress.warn("mask.numbers", "The masks' frame numbers are not the clip's: they were taken in order.")
    _check_cover(by_frame, clip, path, progress)
    return SequenceMasks(by_frame, size)


def _is_lone_still(path: str) -> bool:
    """A single image named on purpose: without a number in its name, or without neighbours of the same numbering."""
    if not os.path.isfile(path) or os.path.splitext(path)[1].lower() not in seq.IMAGE_SUFFIXES:
        return False
    files = seq.find_sequence(path)
    return files is None or len(files.files) == 1


def _check_cover(by_frame: dict, clip: ClipInfo, path: str, progress: Progress | None) -> None:
    if not by_frame:
        raise HoldfastError(
            "mask.no_frames",
            f"No mask in {path} belongs to the clip's frames {clip.frames[0]} to {clip.frames[-1]}.",
            "Number the masks as the clip's frames are, or give one for each frame.",
            EXIT_INPUT,
        )
    lacking = len(clip.frames) - len(by_frame)
    if lacking and progress is not None:
        progress.warn("mask.gaps", f"{lacking} of {len(clip.frames)} frames have no mask; nothing is ignored there.")


def mask_from_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool from a mask picture of any depth: alpha where it varies, else brightness; half and more means "ignore".

    size: (width, height) px of the clip; masks of other sizes are scaled.
    """
    values = image[..., None] if image.ndim == 2 else image
    top = 1.0 if seq.is_linear(image) else float(np.iinfo(image.dtype).max)
    if values.shape[2] in (2, 4) and values[..., -1].min() != values[..., -1].max():
        plane = values[..., -1]
    else:
        plane = values[..., : 3 if values.shape[2] >= 3 else 1].max(-1)
    plane = np.nan_to_num(plane.astype(np.float32) / top)
    if (plane.shape[1], plane.shape[0]) != size:
        shrink = plane.shape[1] > size[0]
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return plane >= 0.5


class Masks:
    """Masks by frame number; the last one read is kept, because neighbouring stages ask for the same frame."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._last: tuple[int | None, np.ndarray | None] = (None, None)

    def ignore(self, frame: int) -> np.ndarray | None:
        """(H, W) bool, True where tracks are not wanted; None where the frame has no mask. Raises HoldfastError."""
        with self._lock:
            if self._last[0] != frame:
                self._last = (frame, self._load(frame))
            return self._last[1]

    def _load(self, frame: int) -> np.ndarray | None:
        raise NotImplementedError


class StillMask(Masks):
    """One picture for the whole clip."""

    def __init__(self, path: str, size: tuple[int, int]) -> None:
        super().__init__(size)
        image = seq.place(seq.load_image(path, 0), seq.read_image_header(path))
        self._mask = mask_from_image(image, size)

    def _load(self, frame: int) -> np.ndarray | None:
        return self._mask


class SequenceMasks(Masks):
    """One picture per frame."""

    def __init__(self, by_frame: dict[int, str], size: tuple[int, int]) -> None:
        super().__init__(size)
        self._files = by_frame
        self._load(next(iter(by_frame)))  # an unusable mask is found before the solve starts

    def _load(self, frame: int) -> np.ndarray | None:
        path = self._files.get(frame)
        if path is None:
            return None
        return mask_from_image(seq.place(seq.load_image(path, frame), seq.read_image_header(path)), self._size)


class MovieMasks(Masks):
    """A movie of masks."""

    def __init__(self, reader: MovieReader, by_frame: dict[int, int], size: tuple[int, int]) -> None:
        super().__init__(size)
        self._reader = reader
        self._frames = by_frame

    def _load(self, frame: int) -> np.ndarray | None:
        number = self._frames.get(frame)
        return None if number is None else mask_from_image(self._reader.read(number), self._size)
