"""Independent pieces of work on two cores.

The pieces are many small matrix operations between which Python holds its lock, so threads bring little. Where processes can be
forked cheaply (Linux), a child takes every second piece; elsewhere threads do what they can. Results are the same either way.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Item], Result], items: Iterable[Item], done: Callable[[int], None] | None = None
) -> list[Result]:
    """The results of `work` on each item, in the items' order; done(count) is called, in this thread, as pieces are finished."""
    items = list(items)
    if len(items) < 2 or (os.cpu_count() or 1) < 2 or multiprocessing.current_process().daemon:  # a child has a core of its own
        results = [work(item) for item in items]
    elif sys.platform == "linux":
        results = _with_a_child(work, items, done)
    else:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(work, items))
    if done is not None:
        done(len(items))
    return results


def ahead(work: Callable[[Item], Result], items: Iterable[Item], depth: int = 3) -> Iterator[Result]:
    """The results of `work` on each item, in order, made in a thread of its own up to `depth` items before they are asked for.

    For work that lets go of Python's lock, as OpenCV does.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _with_a_child(work: Callable[[Item], Result], items: list[Item], done: Callable[[int], None] | None) -> list[Result]:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(work, items[1::2], there), daemon=True)
    child.start()
    there.close()
    own = []
    for item in items[0::2]:
        own.append(work(item))
        if done is not None:
            done(min(2 * len(own), len(items)))
    try:
        others = here.recv()
    except (EOFError, OSError):  # the child died: its share is done here
        others = None
    here.close()
    child.join()
    if others is None:
        others = [work(item) for item in items[1::2]]
    results: list = [None] * len(items)
    results[0::2], results[1::2] = own, others
    return results


def _child(work: Callable, items: list, pipe) -> None:
    """Works in the forked child; leaves without running what the parent has set up for its own end."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        pipe.send([work(item) for item in items])
        code = 0
    except BaseException:  # the parent does the work itself and meets the error where it can be reported
        code = 1
    finally:
        os._exit(code)
