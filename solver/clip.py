"""Opening a clip: movies through OpenCV's FFmpeg, numbered image sequences file by file.

Every reader gives (H, W, 3) uint8 BGR pictures as they are meant to be seen, under the clip's own frame numbers:
movies count from 0, sequences by their files' numbers.
"""

from __future__ import annotations

import math
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from . import sequence as seq
from .errors import EXIT_INPUT, HoldfastError
from .metadata import LensTags, focal_prior_px, image_lens_tags, movie_lens_tags
from .mp4_atoms import read_movie_tags
from .types import ClipInfo, Progress

MIN_FRAMES = 3
DEFAULT_FPS = 24.0
_AHEAD_BYTES = 96 << 20  # decoded pictures that may wait in the queue
_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def open_clip(
    path: str,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
    progress: Progress | None = None,
    *,
    exact_count: bool = False,
    min_frames: int = MIN_FRAMES,
) -> MovieReader | SequenceReader:
    """Open a movie or a numbered sequence and check that it can be solved.

    start, end: first and last frame number wanted (inclusive), in the clip's own numbers; step: every step-th of them.
    progress: told of gaps, truncation and guesses. exact_count: count a movie's frames by decoding even where its index gives
    them. Raises HoldfastError (codes clip.*) for anything that is not a readable clip of `min_frames` frames or more.
    """
    path = os.path.expanduser(path)
    if step < 1:
        raise HoldfastError("clip.bad_step", f"A step of {step} is not possible.", "Give --step 1 or more.", EXIT_INPUT)
    files = seq.find_sequence(path)
    if files is None:
        if not os.path.exists(path):
            raise HoldfastError(
                "clip.missing",
                f"There is no clip at {path}.",
                "Check the path; for a sequence give its folder or one of its files.",
                EXIT_INPUT,
            )
        return _open_movie(path, start, end, step, progress, exact_count, min_frames)
    return _open_sequence(files, start, end, step, progress, min_frames)


def _choose(numbers: list[int], start: int | None, end: int | None, step: int, min_frames: int) -> tuple[int, ...]:
    """Frame numbers to solve. Steps count from the first wanted number, so that gaps do not shift the choice."""
    first, last = numbers[0], numbers[-1]
    low, high = first if start is None else start, last if end is None else end
    if low > high or low > last or high < first:
        raise HoldfastError(
            "clip.range_outside",
            f"The range {low} to {high} lies outside the clip, which has frames {first} to {last}.",
            f"Choose --start and --end between {first} and {last}.",
            EXIT_INPUT,
        )
    if low < first or high > last:
        raise HoldfastError(
            "clip.range_outside",
            f"The range {low} to {high} reaches beyond the clip, which has frames {first} to {last}.",
            f"Choose --start and --end between {first} and {last}.",
            EXIT_INPUT,
        )
    chosen = tuple(n for n in numbers if low <= n <= high and (n - low) % step == 0)
    if len(chosen) < min_frames:
        what = "one frame only" if len(chosen) == 1 else f"{len(chosen)} frames"
        raise HoldfastError(
            "clip.too_short",
            f"There {'is' if len(chosen) == 1 else 'are'} {what} to solve; a camera move needs at least {min_frames}.",
            "Give a longer clip, or a wider range with a smaller step. A single still cannot be tracked.",
            EXIT_INPUT,
        )
    return chosen


class _Reader:
    """What movies and sequences share: decoding ahead in a thread and closing it again."""

    info: ClipInfo

    def images(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (frame number, (H, W, 3) uint8 BGR) in ascending order; a thread decodes a few pictures ahead."""
        picture_bytes = self.info.width * self.info.height * 3
        waiting: queue.Queue = queue.Queue(maxsize=int(np.clip(_AHEAD_BYTES // picture_bytes, 2, 16)))
        stop = threading.Event()

        def put(item) -> bool:
            while not stop.is_set():
                try:
                    waiting.put(item, timeout=0.1)
                    return True
                except queue.Full:
                    continue
            return False

        def work() -> None:
            try:
                for pair in self._decode():
                    if not put(pair):
                        return
                put(None)
            except BaseException as error:  # handed to the reading thread
                put(error)

        thread = threading.Thread(target=work, name="holdfast-decode", daemon=True)
        thread.start()
        try:
            while True:
                item = waiting.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join(timeout=5.0)

    def _decode(self) -> Iterator[tuple[int, np.ndarray]]:
        raise NotImplementedError

    def _check_frame(self, frame: int) -> None:
        if frame not in self._wanted:
            raise HoldfastError(
                "clip.no_such_frame",
                f"Frame {frame} is not among the clip's frames {self.info.frames[0]} to {self.info.frames[-1]}.",
                "Choose a frame inside the clip.",
                EXIT_INPUT,
            )

    @property
    def _wanted(self) -> frozenset[int]:
        cached = self.__dict__.get("_wanted_frames")
        if cached is None:
            cached = self.__dict__["_wanted_frames"] = frozenset(self.info.frames)
        return cached


class SequenceReader(_Reader):
    """A numbered image sequence."""

    def __init__(self, info: ClipInfo, files: dict[int, str], table: np.ndarray | None) -> None:
        self.info = info
        self.files = files
        self._table = table

    def _decode(self) -> Iterator[tuple[int, np.ndarray]]:
        workers = 2  # PNG and EXR unpack slower than a tracker reads
        with ThreadPoolExecutor(workers, thread_name_prefix="holdfast-image") as pool:
            pending: deque = deque()
            try:
                for frame in self.info.frames:
                    pending.append((frame, pool.submit(self.read, frame)))
                    if len(pending) > workers:
                        number, future = pending.popleft()
                        yield number, future.result()
                while pending:
                    number, future = pending.popleft()
                    yield number, future.result()
            finally:
                for _, future in pending:
                    future.cancel()

    def read(self, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR of one frame. Safe to call from several threads."""
        self._check_frame(frame)
        return seq.decode_image(self.files[frame], (self.info.width, self.info.height), self._table, frame)


def _open_sequence(
    files: seq.SequenceFiles, start: int | None, end: int | None, step: int, progress: Progress | None, min_frames: int
) -> SequenceReader:
    frames = _choose(list(files.files), start, end, step * files.stride, min_frames)
    size = seq.check_sizes({n: files.files[n] for n in frames})
    first = seq.load_image(files.files[frames[0]], frames[0])
    table = None
    if seq.is_linear(first):
        sample = sorted({frames[int(i)] for i in np.linspace(0, len(frames) - 1, 5)})
        table = seq.tone_table(seq.measure_gain([seq.load_image(files.files[n], n) for n in sample]))
    header = size.header
    prior = focal_prior_px(image_lens_tags(header, "EXR" if header.data_window else "EXIF"), size.width, size.height)
    inside = tuple(n for n in files.missing if frames[0] <= n <= frames[-1])
    if progress is not None:
        if inside:
            progress.warn("clip.gaps", f"{len(inside)} frame(s) of the sequence have no file: {ranges(inside, files.stride)}.")
        if files.stride > 1:
            progress.warn("clip.stride", f"The sequence is numbered in steps of {files.stride}.")
        if files.others:
            progress.warn(
                "clip.several", f"The folder holds other sequences too; {files.pattern} was taken, not {files.others[0]}."
            )
    info = ClipInfo(
        path=files.pattern if len(files.files) > 1 else files.files[frames[0]],
        width=size.width,
        height=size.height,
        fps=header.fps if header.fps and 1 <= header.fps <= 1000 else DEFAULT_FPS,
        frame_start=min(files.files),
        frames=frames,
        missing=inside,
        pixel_aspect=_sane_aspect(1 / header.pixel_aspect if header.orientation >= 5 else header.pixel_aspect),
        is_sequence=True,
        focal_px=prior[0] if prior else None,
        focal_source=prior[1] if prior else None,
        frame_count=len(files.files),
        step=step,
    )
    return SequenceReader(info, files.files, table)


def ranges(numbers: Iterable[int], stride: int = 1) -> str:
    """'3, 7-9' for (3, 7, 8, 9); long lists are cut."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + stride:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    text = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return ", ".join(text[:8]) + (", …" if len(text) > 8 else "")


def _sane_aspect(aspect: float) -> float:
    """Pixel aspects of real footage; headers with nonsense (or rounding dust) count as square."""
    return 1.0 if not 0.25 < aspect < 4.0 or abs(aspect - 1) < 0.002 else float(aspect)


class MovieReader(_Reader):
    """A movie file. `counted` tells that every frame was decoded once to be sure of their number."""

    def __init__(self, info: ClipInfo, rotation: int, seekable: bool, counted: bool) -> None:
        self.info = info
        self.counted = counted
        self._rotation = rotation
        self._seekable = seekable
        self._lock = threading.Lock()
        self._capture: cv2.VideoCapture | None = None
        self._position = 0  # number of the next frame that self._capture gives

    def _decode(self) -> Iterator[tuple[int, np.ndarray]]:
        capture = _capture(self.info.path)
        try:
            position = 0
            for frame in self.info.frames:
                if self._seekable and frame - position > 120:
                    position = _seek(capture, frame)
                while position <= frame:
                    if not capture.grab():
                        raise self._ended_early(position)
                    position += 1
                ok, image = capture.retrieve()
                if not ok:
                    raise self._ended_early(frame)
                yield frame, self._upright(image)
        finally:
            capture.release()

    def read(self, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR of one frame; quick when frames are asked for in ascending order."""
        self._check_frame(frame)
        with self._lock:
            if self._capture is None:
                self._capture, self._position = _capture(self.info.path), 0
            if self._seekable and not 0 <= frame - self._position <= 48:
                self._position = _seek(self._capture, frame)
            elif frame < self._position:
                self._capture.release()
                self._capture, self._position = _capture(self.info.path), 0
            while self._position <= frame:
                if not self._capture.grab():
                    raise self._ended_early(self._position)
                self._position += 1
            ok, image = self._capture.retrieve()
            if not ok:
                raise self._ended_early(frame)
            return self._upright(image)

    def _upright(self, image: np.ndarray) -> np.ndarray:
        image = to_bgr8(image)
        return image if not self._rotation else cv2.rotate(image, _ROTATIONS[self._rotation])

    def _ended_early(self, frame: int) -> HoldfastError:
        return HoldfastError(
            "clip.ended_early",
            f"The movie stops decoding at frame {frame}, although it says it has {self.info.frame_count}.",
            f"Convert the movie again, or solve a part of it with --end {max(frame - 1, 0)}.",
            EXIT_INPUT,
        )


def to_bgr8(image: np.ndarray) -> np.ndarray:
    """Pictures of FFmpeg as (H, W, 3) uint8; a few formats come grey or with alpha."""
    return image if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 else seq.to_display(image, None)


def _capture(path: str) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    # Whether OpenCV turns pictures by itself depends on its version: never, so that it happens exactly once, here.
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return capture


def _seek(capture: cv2.VideoCapture, frame: int) -> int:
    """Put the capture before `frame`; returns where it really stands."""
    capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
    return round(capture.get(cv2.CAP_PROP_POS_FRAMES))


def _undecodable(path: str, capture: cv2.VideoCapture) -> HoldfastError | None:
    """What to say of a movie that opens and gives no picture; None where it does not even say how it is compressed."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) if capture.isOpened() else 0
    name = "".join(c for c in code.to_bytes(4, "little").decode("latin-1") if c.isascii() and c.isprintable()).strip()
    if not name:
        return None
    return HoldfastError(
        "clip.undecodable",
        f"{path} is a movie, but none of its pictures can be decoded here (compressed as {name}).",
        "Convert it to H.264 or ProRes, or to images; a half-copied movie must be copied anew.",
        EXIT_INPUT,
    )


def _looks_like_text(path: str) -> bool:
    """FFmpeg shows text files as pictures of letters, and follows play lists to other files; neither is a shot."""
    with open(path, "rb") as stream:
        head = stream.read(4096)
    return bool(head) and not head.startswith(b"YUV4MPEG2") and all(byte >= 32 or byte in (9, 10, 12, 13, 27) for byte in head)


def _open_movie(
    path: str, start: int | None, end: int | None, step: int, progress: Progress | None, exact_count: bool, min_frames: int
) -> MovieReader:
    not_a_video = HoldfastError(
        "clip.not_a_video",
        f"{path} is not a movie or image that can be read.",
        "Give a movie (MP4, MOV, MKV, AVI, …) or images (PNG, JPEG, TIFF, EXR); a half-copied movie must be copied anew.",
        EXIT_INPUT,
    )
    try:
        if os.path.getsize(path) == 0:
            raise HoldfastError("clip.empty_file", f"{path} is empty (0 bytes).", "Copy or export the movie again.", EXIT_INPUT)
        if _looks_like_text(path):
            raise not_a_video
    except OSError as error:
        raise HoldfastError(
            "clip.unreadable", f"{path} cannot be read ({error.strerror}).", "Check that you may read the file.", EXIT_INPUT
        ) from error
    capture = _capture(path)
    try:
        ok, first = capture.read() if capture.isOpened() else (False, None)
        if not ok:
            raise _undecodable(path, capture) or not_a_video
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        fps = capture.get(cv2.CAP_PROP_FPS)
        rotation = int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        aspect = _ratio(capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN))
        tags = read_movie_tags(path)
        trusted = not exact_count and tags.frame_count is not None and tags.frame_count == announced
        count = int(announced)
        if not trusted:
            count = 1
            while capture.grab():
                count += 1
    finally:
        capture.release()
    if progress is not None and not trusted and (count < announced or not tags.complete):
        said = f" of {announced:.0f}" if count < announced < 1e7 else ""
        progress.warn("clip.truncated", f"The movie is cut off or damaged: {count}{said} frames decode, and these are used.")
    if not (fps > 0 and math.isfinite(fps) and fps <= 1000):
        fps = DEFAULT_FPS
        if progress is not None:
            progress.warn("clip.no_rate", f"The movie does not say its frame rate; {DEFAULT_FPS:g} frames a second are assumed.")
    if rotation not in _ROTATIONS:
        rotation = 0
    height, width = first.shape[:2]
    prior = focal_prior_px(movie_lens_tags(tags) if tags.tags else LensTags(), width, height)
    if rotation in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    info = ClipInfo(
        path=path,
        width=width,
        height=height,
        fps=float(fps),
        frame_start=0,
        frames=_choose(list(range(count)), start, end, step, min_frames),
        pixel_aspect=_sane_aspect(aspect),
        focal_px=prior[0] if prior else None,
        focal_source=prior[1] if prior else None,
        frame_count=count,
        step=step,
        rotation_deg=rotation,
    )
    return MovieReader(info, rotation, seekable=trusted and tags.constant_rate, counted=not trusted)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if numerator > 0 and denominator > 0 else 1.0
