"""A whole clip tracked: forth, and where it begins blurred from its first sharp picture back as well."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice, pairwise

import numpy as np

from .flow import prepare
from .parallel import ahead
from .tracked import TrackedClip, TrackingOptions
from .tracker import Tracker

MOST_BYTES = 300_000_000  # of pictures on the way back that are held at a time


def track_clip(
    images,
    frame_numbers: np.ndarray,
    options: TrackingOptions,
    *,
    again: Callable[[], Generator[tuple[int, np.ndarray]]] | None = None,
    ignore: Callable[[int], np.ndarray | None] = lambda frame: None,
    on_frame: Callable[[int, int, np.ndarray, Tracker], None] = lambda index, frame, image, tracker: None,
) -> TrackedClip:
    """Track a whole clip. images yields (frame number, BGR); again gives the same once more, for shots that begin blurred (None:
    they are tracked forth alone); on_frame is called after each (progress, keyframes)."""
    tracker = Tracker(options, begins_later=again is not None)
    seen = []

    def go(tracker: Tracker, images, each: Callable[[int, np.ndarray], None] = lambda frame, image: None) -> None:
        pictures = ahead(lambda pair: (pair[0], prepare(pair[1], options.shrink)), images)
        for (frame, picture), after in pairwise(chain(pictures, [(None, None)])):
            tracker.step(picture, ignore(frame), after[1])
            each(frame, picture.image)

    def taken(frame: int, image: np.ndarray) -> None:
        seen.append(frame)
        on_frame(tracker.index, frame, image, tracker)

    go(tracker, images, taken)
    begin = tracker.beginning.index
    if begin:
        back = _going_back(tracker)
        go(back, _backwards(again, begin, tracker.last.image.nbytes))
        _join_earlier(tracker, back, begin)
    return tracker.result(np.array(seen if seen else frame_numbers, int))


def _going_back(tracker: Tracker) -> Tracker:
    """A tracker for the pictures from the one where the tracks begin to the first, in that order."""
    back = Tracker(tracker.options)
    back.live = replace(tracker.begun, ref_frame=np.zeros_like(tracker.begun.ref_frame))
    back.next_id, back.last_detection = tracker.next_id, 0
    return back


def _join_earlier(tracker: Tracker, back: Tracker, begin: int) -> None:
    """Add what a tracker that went back has found before the frame `begin`."""
    back.finish()
    tracker.records += [(ids, begin - index, *what) for ids, index, *what in back.records]
    tracker.colours += back.colours
    tracker.contrasts += back.contrasts
    tracker.next_id = back.next_id
    # what came over from one frame to another there comes over from the other here
    tracker.bridging[1 : begin + 1] = back.bridging[:0:-1]
    tracker.bridged = [begin - k + 1 for k in reversed(back.bridged)] + tracker.bridged


def _backwards(
    again: Callable[[], Generator[tuple[int, np.ndarray]]], last: int, picture_bytes: int
) -> Iterator[tuple[int, np.ndarray]]:
    """(frame number, picture) from the one at index `last` to the first, of a clip that `again` reads from its beginning; read
    several times where not all of them can be held at once."""
    end = last + 1
    while end > 0:
        with closing(again()) as pictures:
            held = deque(islice(pictures, end), maxlen=max(2, MOST_BYTES // picture_bytes))
        end -= len(held)
        while held:
            yield held.pop()
