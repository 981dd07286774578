"""Alembic archives of the Ogawa kind, read from their bytes: transforms, cameras and meshes.

Ogawa is a tree of groups (a count and the places of the children) and data blocks (a size and bytes). Alembic puts objects into
it whose first child are their properties and whose last child are the headers of their children; every sample of a property
begins with a 16-byte key.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .scene import Scene, middles_of_octahedra

_DATA = 1 << 63
_PODS = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "S", "U"]
_MATRIX_OP = 3


class Archive:
    """The bytes of an archive and the ways to read them."""

    def __init__(self, path: Path) -> None:
        self.bytes = path.read_bytes()
        assert self.bytes[:5] == b"Ogawa" and self.bytes[5] == 0xFF, "not a finished Ogawa archive"
        top = self.group(struct.unpack_from("<Q", self.bytes, 8)[0])
        self.samplings = self._time_samplings(self.data(top[4]))
        self.metadata = self._indexed_metadata(self.data(top[5]))
        self.root = Node(self, "", "", top[2])

    def group(self, place: int) -> list[int]:
        """Places of a group's children."""
        assert not place & _DATA
        if place == 0:
            return []
        (count,) = struct.unpack_from("<Q", self.bytes, place)
        return list(struct.unpack_from(f"<{count}Q", self.bytes, place + 8))

    def data(self, place: int) -> bytes:
        """A data block."""
        assert place & _DATA
        place ^= _DATA
        if place == 0:
            return b""
        (size,) = struct.unpack_from("<Q", self.bytes, place)
        return self.bytes[place + 8 : place + 8 + size]

    @staticmethod
    def _time_samplings(data: bytes) -> list[tuple[float, np.ndarray]]:
        """(seconds per cycle, times in a cycle) of every time sampling."""
        found, at = [], 0
        while at < len(data):
            _, cycle, count = struct.unpack_from("<IdI", data, at)
            found.append((cycle, np.frombuffer(data, "<f8", count, at + 16)))
            at += 16 + 8 * count
        return found

    @staticmethod
    def _indexed_metadata(data: bytes) -> list[str]:
        found, at = [""], 0
        while at < len(data):
            found.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        return found


class Node:
    """An object: its schema's name is in its metadata, its properties in `properties`."""

    def __init__(self, archive: Archive, name: str, metadata: str, place: int) -> None:
        self.name = name
        self.metadata = dict(part.split("=", 1) for part in metadata.split(";") if "=" in part)
        places = archive.group(place)
        self.properties = Compound(archive, places[0])
        self.children = []
        headers, at = archive.data(places[-1])[:-32], 0  # two keys stand at the end
        for child in places[1:-1]:
            (length,) = struct.unpack_from("<I", headers, at)
            own = headers[at + 4 : at + 4 + length].decode()
            at += 5 + length
            index = headers[at - 1]
            if index == 0xFF:
                (length,) = struct.unpack_from("<I", headers, at)
                text = headers[at + 4 : at + 4 + length].decode()
                at += 4 + length
            else:
                text = archive.metadata[index]
            self.children.append(Node(archive, own, text, child))

    @property
    def schema(self) -> str:
        return self.metadata.get("schema", "")


@dataclass
class Property:
    """A scalar or array property with its samples."""

    archive: Archive
    place: int
    kind: str  # numpy's
    extent: int
    is_array: bool
    count: int
    first_changed: int
    last_changed: int
    sampling: tuple[float, np.ndarray]

    def sample(self, index: int) -> np.ndarray:
        """Values (N, extent)."""
        index = min(index, self.count - 1)
        stored = 0
        if self.last_changed:
            stored = max(0, min(index, self.last_changed) - self.first_changed + 1)
        places = self.archive.group(self.place)
        raw = self.archive.data(places[2 * stored if self.is_array else stored])[16:]
        return np.frombuffer(raw, self.kind).reshape(-1, self.extent)

    def times(self) -> np.ndarray:
        """Seconds of the samples."""
        cycle, within = self.sampling
        i = np.arange(self.count)
        return within[i % len(within)] + cycle * (i // len(within))


class Compound:
    """A compound property: `compound["name"]` is a Property or a Compound."""

    def __init__(self, archive: Archive, place: int) -> None:
        self._entries: dict[str, Any] = {}
        places = archive.group(place)
        if not places:
            return
        headers, at, i = archive.data(places[-1]), 0, 0

        def number(hint: int) -> int:
            nonlocal at
            form = ("<B", "<H", "<I")[hint]
            (value,) = struct.unpack_from(form, headers, at)
            at += struct.calcsize(form)
            return value

        while at < len(headers):
            info = number(2)
            kind, hint = info & 3, info >> 2 & 3
            if kind:
                count = number(hint)
                first, last = 1, count - 1
                if info & 0x200:
                    first, last = number(hint), number(hint)
                elif info & 0x800:
                    first = last = 0
                sampling = archive.samplings[number(hint) if info & 0x100 else 0]
            length = number(hint)
            name = headers[at : at + length].decode()
            at += length
            if info >> 20 & 0xFF == 0xFF:
                length = number(hint)
                at += length
            if kind:
                pod = _PODS[info >> 4 & 15]
                self._entries[name] = Property(
                    archive, places[i], pod, info >> 12 & 0xFF, kind != 1, count, first, last, sampling
                )
            else:
                self._entries[name] = Compound(archive, places[i])
            i += 1

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def names(self) -> list[str]:
        return list(self._entries)


def _local_matrix(node: Node, index: int) -> np.ndarray:
    """(4, 4) parent from node, of column vectors; the node holds one matrix."""
    transform = node.properties[".xform"]
    assert (transform[".ops"].sample(0).ravel() >> 4).tolist() == [_MATRIX_OP]
    return transform[".vals"].sample(index).reshape(4, 4).T


def read(path: Path, fps: float) -> Scene:
    """The scene in an archive. Alembic counts in seconds: fps says how to count them in frames. Units are taken as metres."""
    archive = Archive(path)
    camera, meshes, properties, found = None, {}, {}, []

    def walk(node: Node, above: list[Node]) -> None:
        nonlocal camera
        if "Camera" in node.schema:
            camera = (node, above)
        elif "PolyMesh" in node.schema:
            found.append((node, above))
        for child in node.children:
            walk(child, [*above, node])

    def world(above: list[Node], index: int) -> np.ndarray:
        made = np.eye(4)
        for node in above:
            if "Xform" in node.schema:
                made = made @ _local_matrix(node, index)
        return made

    walk(archive.root, [])
    node, above = camera
    core = node.properties[".geom"][".core"]
    moving = next(n for n in above if "Xform" in n.schema).properties[".xform"][".vals"]
    times = moving.times() if moving.count >= core.count else core.times()
    values = np.array([core.sample(i).ravel() for i in range(len(times))])
    poses = np.array([world(above, i) for i in range(len(times))])
    assert np.allclose(np.linalg.norm(poses[:, :3, :3], axis=1), 1, atol=1e-5), "the camera is scaled"
    assert (values[:, 5] == 1).all(), "wide pixels would count twice"
    transform = above[-1].properties[".xform"]
    if ".userProperties" in transform.names():
        own = transform[".userProperties"]
        properties = {name: float(own[name].sample(0).ravel()[0]) for name in own.names() if name.startswith("holdfast_")}
    for mesh, parents in found:
        local = mesh.properties[".geom"]["P"].sample(0).astype(float)
        matrix = world(parents, 0)
        meshes[parents[-1].name] = local @ matrix[:3, :3].T + matrix[:3, 3]
    centimetre = 10.0  # apertures and offsets are in cm, focal lengths in mm
    return Scene(
        fps,
        np.round(times * fps, 6).tolist(),
        poses,
        values[:, 0],
        values[:, [1, 3]] * centimetre,
        values[:, [2, 4]] * centimetre,
        middles_of_octahedra(meshes.pop("points")) if "points" in meshes else np.zeros((0, 3)),
        meshes,
        properties,
    )
