"""What a batch knows of each shot on disk: whether it is done, for which content and settings, and who is working on it."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import __version__
from .batch_list import Shot
from .lifetime import on_end

STATE_NAME = "shot.json"
LOCK_NAME = ".lock"
HEARTBEAT_S = 2.0
STALE_S = 20.0  # a lock of another machine that has not been renewed for this long is of a dead run
_FULL_HASH_BYTES = 256 << 20  # shots up to this size are hashed whole, of others so much
_BLOCKS = 16


class Locked(Exception):
    """Another run that is alive works on the shot."""


def _files_of(path: str) -> list[Path]:
    """The files behind a clip, mask or folder of depth maps."""
    place = Path(path).expanduser()
    if place.is_dir():
        return sorted(entry for entry in place.iterdir() if entry.is_file())
    from .errors import HoldfastError
    from .sequence import find_sequence

    try:
        found = find_sequence(str(place))
    except HoldfastError:
        found = None
    if found is not None:
        return [Path(file) for file in found.files.values()]
    return [place] if place.is_file() else []


def _sources(shot: Shot) -> list[str]:
    paths = [shot.clip, *(shot.options[key] for key in ("mask", "depth_maps") if shot.options.get(key))]
    network = str(shot.options.get("depth_model") or "")
    return [*paths, network] if network.lower().endswith(".onnx") else paths


def stat_signature(shot: Shot) -> str:
    """Names, sizes and times of the files of a shot: cheap, and equal only if nothing was touched."""
    digest = hashlib.sha256()
    for source in _sources(shot):
        for file in _files_of(source):
            stat = file.stat()
            digest.update(f"{file.name}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def content_hash(shot: Shot) -> str:
    """SHA-256 over the bytes of a shot's files; of large shots over sizes and blocks spread through every file."""
    digest = hashlib.sha256()
    for source in _sources(shot):
        files = _files_of(source)
        sizes = [file.stat().st_size for file in files]
        whole = sum(sizes) <= _FULL_HASH_BYTES
        block = max(_FULL_HASH_BYTES // (_BLOCKS * max(len(files), 1)), 4096)
        for file, size in zip(files, sizes, strict=True):
            digest.update(f"{file.name}|{size}\n".encode())
            with open(file, "rb") as stream:
                if whole or size <= block * _BLOCKS:
                    while data := stream.read(1 << 20):
                        digest.update(data)
                else:
                    for i in range(_BLOCKS):
                        stream.seek((size - block) * i // (_BLOCKS - 1))
                        digest.update(stream.read(block))
    return digest.hexdigest()


def settings_hash(shot: Shot) -> str:
    """What besides the pictures decides the result."""
    options = {key: value for key, value in shot.options.items() if value is not None}
    for key in ("mask", "depth_maps"):
        if key in options:
            options[key] = Path(options[key]).name  # its contents are hashed with the clip's
    text = json.dumps({"options": options, "version": __version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def shot_key(shot: Shot, known: dict[str, Any] | None = None) -> dict[str, str]:
    """{"stat", "content", "settings"}: a shot is done when content and settings are those of its results.

    known: the key of an earlier run; its content hash is taken over when no file was touched since.
    """
    stat = stat_signature(shot)
    content = known["content"] if known and known.get("stat") == stat else content_hash(shot)
    return {"stat": stat, "content": content, "settings": settings_hash(shot)}


def read_state(folder: Path) -> dict[str, Any]:
    """What the last run left about a shot; empty when there was none."""
    try:
        state = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a shot's state whole."""
    write_text(folder / STATE_NAME, json.dumps(state, indent=1, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def is_solved(folder: Path, key: dict[str, str]) -> bool:
    """True when the folder holds a solve of this content with these settings, whatever became of its exports."""
    state = read_state(folder)
    held = state.get("key", {})
    same = held.get("content") == key["content"] and held.get("settings") == key["settings"]
    return bool(state.get("solved")) and same and (folder / "solve.json").exists()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a shot's folder. Raises `Locked` while another living run has it; locks of dead runs are taken over."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_NAME
    mine = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": os.urandom(8).hex()})
    if not _create(path, mine):
        if not _abandoned(path):
            raise Locked(str(folder))
        # Two runs may find the same dead lock: only the one whose rename succeeds may clear it.
        grave = path.with_name(f"{LOCK_NAME}.{os.getpid()}.dead")
        try:
            os.rename(path, grave)
            os.unlink(grave)
        except OSError:
            raise Locked(str(folder)) from None
        if not _create(path, mine):
            raise Locked(str(folder))
    take_back = on_end(lambda: path.unlink(missing_ok=True))
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_S):
            try:
                os.utime(path)
            except OSError:
                return

    thread = threading.Thread(target=beat, name="holdfast-lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        take_back()
        try:
            if path.read_text(encoding="utf-8") == mine:
                path.unlink()
        except OSError:
            pass


def _create(path: Path, text: str) -> bool:
    """Make the lock with its contents in one step (a link to a finished file: never seen empty)."""
    partial = path.with_name(f"{LOCK_NAME}.{os.getpid()}.{threading.get_ident()}.new")
    partial.write_text(text, encoding="utf-8")
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError:  # file systems without hard links
        try:
            with open(path, "x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _abandoned(path: Path) -> bool:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False  # freed this moment: the next attempt gets it
    except (OSError, ValueError):
        return True
    if age > STALE_S:
        return True
    if holder.get("host") != socket.gethostname() or os.name == "nt":
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, KeyError, ValueError):
        return False
    return False
