"""Fetches a network's files: resumes, checks length and hash, watches the disk, never leaves half a file under the real name."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .errors import EXIT_CANCELLED, EXIT_MODEL, HoldfastError
from .models_registry import NetworkFile, NetworkSpec, sha256_of

PINS = "pins.json"  # hashes the user confirmed, by file name
MARGIN_BYTES = 64 << 20  # left free on the disk
BLOCK = 1 << 16
UNKNOWN_SIZE_LIMIT = 8 << 30

Confirm = Callable[[str, str], bool]  # (file name, sha256) -> whether the user trusts it
Report = Callable[[str, int, int], None]  # (file name, bytes here, bytes in all or 0)


class _TryAgain(Exception):
    """The connection broke off; what came so far is kept."""


def _fail(code: str, message: str, hint: str) -> HoldfastError:
    return HoldfastError(code, message, hint, EXIT_MODEL)


def read_pins(folder: Path) -> dict[str, str]:
    """{file name: sha256} confirmed earlier."""
    try:
        pins = json.loads((folder / PINS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return pins if isinstance(pins, dict) else {}


def _write_pin(folder: Path, name: str, sha256: str) -> None:
    partial = folder / (PINS + ".part")
    partial.write_text(json.dumps({**read_pins(folder), name: sha256}, indent=1), encoding="utf-8")
    partial.replace(folder / PINS)


def _address(file: NetworkFile, mirror: str | None) -> str:
    if mirror:
        return mirror.rstrip("/") + "/" + urllib.parse.quote(file.name)
    if not file.url:
        raise _fail(
            "download.no_address",
            f"No download address is known for {file.name}.",
            "Fetch it by hand and run: python -m solver models add FILE; or set a mirror.",
        )
    return file.url


def _request(url: str, start: int, validator: str | None, timeout_s: float):
    headers = {"User-Agent": "Holdfast", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s)


def _total_of(response, start: int) -> int:
    """Bytes of the whole file as the server states them, 0 when it does not."""
    content_range = response.headers.get("Content-Range", "")
    if response.status == 206 and "/" in content_range:
        total = content_range.rsplit("/", 1)[1]
        return int(total) if total.isdigit() else 0
    length = response.headers.get("Content-Length")
    return start + int(length) if length and length.isdigit() else 0


def _fetch_once(
    file: NetworkFile, url: str, partial: Path, timeout_s: float, report: Report, cancelled: Callable[[], bool]
) -> None:
    """One connection; returns when the file is whole, raises _TryAgain when it broke off."""
    note = partial.with_name(partial.name + ".json")
    start = partial.stat().st_size if partial.exists() else 0
    validator = None
    if start:
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
            validator = known.get("validator") if known.get("url") == url else None
        except (OSError, ValueError):
            pass
        if validator is None:
            start = 0  # without a way to see whether the file changed on the server, pieces of two versions could be joined
    try:
        response = _request(url, start, validator, timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            partial.unlink(missing_ok=True)
            raise _TryAgain("the server cannot go on where the file broke off") from None
        if error.code in (429, 500, 502, 503, 504):
            raise _TryAgain(f"the server answered {error.code}") from None
        raise _fail(
            "download.refused",
            f"The server answered {error.code} for {url}.",
            "The address may have changed: fetch the file by hand and run: python -m solver models add FILE; or set --mirror.",
        ) from None
    except (OSError, http.client.HTTPException) as error:  # URLError, timeouts and resets are OSErrors
        raise _TryAgain(str(getattr(error, "reason", error)) or type(error).__name__) from None
    with response:
        if start and response.status != 206:
            start = 0
        total = _total_of(response, start)
        if "text/html" in response.headers.get("Content-Type", ""):
            raise _fail(
                "download.not_a_file",
                f"{url} is a web page, not the file {file.name}.",
                "The address may need a login: fetch the file in a browser and run: python -m solver models add FILE.",
            )
        if file.size and total and total != file.size:
            raise _fail(
                "download.wrong_size",
                f"The server offers {total} bytes for {file.name}, {file.size} were expected.",
                "The file was changed or the address is wrong; set --mirror or fetch it by hand.",
            )
        expected = file.size or total
        free = shutil.disk_usage(partial.parent).free
        if expected - start + MARGIN_BYTES > free:
            raise _fail(
                "download.disk_full",
                f"{file.name} needs {(expected - start) / 1e6:.0f} MB, {free / 1e6:.0f} MB are free in {partial.parent}.",
                "Free some space, or set HOLDFAST_MODELS to a folder on another disk.",
            )
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
        note.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
        here = start
        with open(partial, "ab" if start else "wb") as out:
            while True:
                if cancelled():
                    raise HoldfastError(
                        "download.cancelled",
                        f"The download of {file.name} was cancelled.",
                        "Run it again to go on where it stopped.",
                        EXIT_CANCELLED,
                    )
                try:
                    block = response.read1(BLOCK)  # what has arrived is kept even if the rest never comes
                except (OSError, http.client.HTTPException) as error:
                    reason = (
                        "it stalled" if isinstance(error, TimeoutError | socket.timeout) else str(error) or type(error).__name__
                    )
                    raise _TryAgain(reason) from None
                if not block:
                    break
                here += len(block)
                if here > (expected or UNKNOWN_SIZE_LIMIT):
                    out.close()
                    partial.unlink(missing_ok=True)
                    raise _fail(
                        "download.wrong_size",
                        f"The server sends more than the {expected} bytes {file.name} should have.",
                        "The file was changed or the address is wrong; set --mirror or fetch it by hand.",
                    )
                out.write(block)
                report(file.name, here, expected)
        if expected and here < expected:
            raise _TryAgain(f"it broke off after {here} of {expected} bytes")


def fetch_file(
    file: NetworkFile,
    folder: Path,
    *,
    mirror: str | None = None,
    confirm: Confirm | None = None,
    report: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    timeout_s: float = 30.0,
    attempts: int = 5,
    pause_s: float = 2.0,
) -> Path:
    """Downloads one file into a folder and returns its path; goes on where an earlier try broke off.

    confirm is asked about a file whose hash is in no registry; the answer yes pins the hash. A mirror holds the files by
    name under one address. Raises HoldfastError (download.*).
    """
    report, cancelled = report or (lambda *_: None), cancelled or (lambda: False)
    url = _address(file, mirror)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise _fail("download.bad_address", f"{url} is not a web address.", "It must begin with https:// or http://.")
    try:
        partial = folder / (file.name + ".part")
        partial.parent.mkdir(parents=True, exist_ok=True)
        problem = ""
        for attempt in range(attempts):
            before = partial.stat().st_size if partial.exists() else 0
            try:
                _fetch_once(file, url, partial, timeout_s, report, cancelled)
                break
            except _TryAgain as error:
                problem = str(error)
            progressed = partial.exists() and partial.stat().st_size > before
            if attempt + 1 < attempts:
                time.sleep(0 if progressed else pause_s * 2**attempt)
        else:
            raise _fail(
                "download.broken",
                f"{file.name} could not be fetched from {urllib.parse.urlsplit(url).netloc}: {problem}.",
                "Check the connection and run it again: it goes on where it stopped. A mirror can be set with --mirror.",
            )
        check_file(file, partial, folder, confirm)
        partial.replace(folder / file.name)
        partial.with_name(partial.name + ".json").unlink(missing_ok=True)
    except OSError as error:
        raise _fail(
            "download.cannot_write",
            f"{file.name} cannot be written to {folder}: {error.strerror or error}.",
            "Choose a writable folder with HOLDFAST_MODELS.",
        ) from None
    return folder / file.name


def check_file(file: NetworkFile, path: Path, folder: Path, confirm: Confirm | None) -> None:
    """Compares size and hash with the registry's, or with what the user confirmed earlier; deletes a file that fails.

    Raises HoldfastError: download.wrong_size, download.wrong_hash, download.unconfirmed (the file is kept for another try).
    """
    size = path.stat().st_size
    if file.size and size != file.size:
        path.unlink()
        raise _fail("download.wrong_size", f"{file.name} has {size} bytes instead of {file.size}.", "Download it again.")
    actual = sha256_of(path)
    expected = file.sha256 or read_pins(folder).get(file.name)
    if expected:
        if actual != expected:
            path.unlink()
            raise _fail(
                "download.wrong_hash",
                f"{file.name} is not the file it should be (SHA-256 {actual[:16]}… instead of {expected[:16]}…).",
                "Download it again; if it stays so, the file was changed on the server: do not use it.",
            )
        return
    if confirm is None or not confirm(file.name, actual):
        raise _fail(
            "download.unconfirmed",
            f"No one has vouched for {file.name} yet (SHA-256 {actual}).",
            "If you trust its source, run it again with --accept-hash " + actual + ".",
        )
    _write_pin(folder, file.name, actual)


def fetch_network(spec: NetworkSpec, folder: Path, **options) -> Path:
    """Downloads all files of a network that are not there yet; options as for fetch_file. Returns the graph file's path."""
    for file in spec.files:
        if not (folder / file.name).is_file():
            fetch_file(file, folder, **options)
    return folder / spec.files[0].name
