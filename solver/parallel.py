"""Independent pieces of work side by side.

The pieces are many small matrix operations between which Python holds its lock, so threads bring little. Where processes can be
forked cheaply (Linux), children take their shares of the pieces; elsewhere threads do what they can. Results are the same either
way, and for any number of cores.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

MOST_CORES = 8  # of a large machine; more find nothing to do

Item = TypeVar("Item")
Result = TypeVar("Result")


_cores = 2


def use_cores(wanted: int) -> int:
    """Says how many cores pieces may use from now on (0: all that this process may run on, eight at most); returns the number."""
    global _cores
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _cores = wanted or min(there, MOST_CORES)
    return _cores


def side_by_side(
    work: Callable[[Item], Result], items: Iterable[Item], done: Callable[[int], None] | None = None
) -> list[Result]:
    """The results of `work` on each item, in the items' order; done(count) is called, in this thread, as pieces are finished."""
    items = list(items)
    shares = min(len(items), _cores)
    if shares < 2 or multiprocessing.current_process().daemon:  # a child has a core of its own
        results = [work(item) for item in items]
    elif sys.platform == "linux":
        results = _with_children(work, items, shares, done)
    else:
        with ThreadPoolExecutor(shares) as pool:
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


def _with_children(work: Callable, items: list, shares: int, done: Callable[[int], None] | None) -> list:
    """Whoever is free takes the next piece: this process and its children."""
    context = multiprocessing.get_context("fork")
    taken = context.Value("i", 0)
    children = []
    for _ in range(1, shares):
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(work, items, taken, there), daemon=True)
        child.start()
        there.close()
        children.append((child, here))
    results: dict[int, object] = {}
    while (at := _next(taken, len(items))) is not None:
        results[at] = work(items[at])
        if done is not None:
            done(max(0, min(taken.value, len(items)) - len(children)))  # those that children have begun are not finished
    for child, here in children:
        with suppress(EOFError, OSError):  # the child died: what it had taken is done here
            results |= here.recv()
        here.close()
        child.join()
    return [results[at] if at in results else work(items[at]) for at in range(len(items))]


def _next(taken, count: int) -> int | None:
    """The number of a piece that nobody has taken yet."""
    with taken.get_lock():
        at = taken.value
        taken.value += 1
    return at if at < count else None


def _child(work: Callable, items: list, taken, pipe) -> None:
    """Works in the forked child; leaves without running what the parent has set up for its own end."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        found = {}
        while (at := _next(taken, len(items))) is not None:
            found[at] = work(items[at])
        pipe.send(found)
        code = 0
    except BaseException:  # the parent does the work itself and meets the error where it can be reported
        code = 1
    finally:
        os._exit(code)
