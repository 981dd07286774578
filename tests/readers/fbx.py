"""Binary FBX 7.4 and 7.5, read from its records: models, cameras, meshes and their animation curves.

The rules are those of the FBX file format as its users have described it: records nest; objects are tied by connections; times
count in 1/46186158000 s; a camera looks along its own +x with y up; rotations are Euler angles XYZ in degrees.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .scene import Scene, middles_of_octahedra

TICKS_PER_SECOND = 46186158000
_SCALARS = {"Y": "<h", "C": "<?", "I": "<i", "F": "<f", "D": "<d", "L": "<q"}
_ARRAYS = {"f": "<f4", "d": "<f8", "l": "<i8", "i": "<i4", "b": "<u1"}
# Axes of a camera of ours (right, up, backward) in the axes of an FBX camera, whose x is forward and z right.
_FBX_CAMERA = np.array([[0.0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


@dataclass
class Record:
    """A record: its name, its properties, the records in it."""

    name: str
    values: list[Any]
    children: list[Record] = field(default_factory=list)

    def all(self, name: str) -> list[Record]:
        return [child for child in self.children if child.name == name]

    def get(self, name: str) -> Record:
        return self.all(name)[0]

    def properties(self) -> dict[str, list[Any]]:
        """Properties70: name -> values."""
        return {record.values[0]: record.values[4:] for part in self.all("Properties70") for record in part.all("P")}


def parse(data: bytes) -> Record:
    """The root of a binary FBX file."""
    assert data.startswith(b"Kaydara FBX Binary  \x00\x1a\x00"), "not a binary FBX file"
    wide = struct.unpack_from("<I", data, 23)[0] >= 7500
    head, size = ("<QQQ", 24) if wide else ("<III", 12)

    def value(at: int) -> tuple[Any, int]:
        kind = chr(data[at])
        at += 1
        if kind in _SCALARS:
            return struct.unpack_from(_SCALARS[kind], data, at)[0], at + struct.calcsize(_SCALARS[kind])
        if kind in "SR":
            (length,) = struct.unpack_from("<I", data, at)
            raw = data[at + 4 : at + 4 + length]
            return (raw.decode("utf-8") if kind == "S" else raw), at + 4 + length
        count, packed, length = struct.unpack_from("<III", data, at)
        raw = data[at + 12 : at + 12 + length] if packed else data[at + 12 : at + 12 + count * np.dtype(_ARRAYS[kind]).itemsize]
        array = np.frombuffer(zlib.decompress(raw) if packed else raw, _ARRAYS[kind])
        assert len(array) == count
        return array, at + 12 + len(raw)

    def record(at: int) -> tuple[Record | None, int]:
        end, count, _ = struct.unpack_from(head, data, at)
        if end == 0:
            return None, at + size + 1
        length = data[at + size]
        at += size + 1
        made = Record(data[at : at + length].decode("ascii"), [])
        at += length
        for _ in range(count):
            entry, at = value(at)
            made.values.append(entry)
        while at < end:
            child, at = record(at)
            if child is not None:
                made.children.append(child)
        return made, end

    root, at = Record("", []), 27
    while True:
        child, at = record(at)
        if child is None:
            return root
        root.children.append(child)


def euler_matrix(degrees: np.ndarray) -> np.ndarray:
    """(3, 3) of Euler angles XYZ: x first."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _settings(root: Record) -> tuple[float, float]:
    """(metres per unit, frames per second); asserts y up, z towards the viewer, x right."""
    values = root.get("GlobalSettings").properties()
    axes = [values[name][0] for name in ("UpAxis", "UpAxisSign", "FrontAxis", "FrontAxisSign", "CoordAxis", "CoordAxisSign")]
    assert axes == [1, 1, 2, 1, 0, 1], f"not y up: {axes}"
    rates = {11: 24.0, 10: 25.0, 6: 30.0, 13: 23.976, 8: 29.97, 9: 29.97, 3: 60.0, 5: 50.0, 2: 100.0, 1: 120.0, 4: 48.0}
    mode = values["TimeMode"][0]
    rate = values["CustomFrameRate"][0] if mode == 14 else rates[mode]
    return values["UnitScaleFactor"][0] / 100, rate


def read(path: Path) -> Scene:
    """The scene in an FBX file. Its models must lie flat under the root."""
    root = parse(path.read_bytes())
    metres, fps = _settings(root)
    objects = {record.values[0]: record for record in root.get("Objects").children}
    links = [record.values for record in root.get("Connections").children]
    models = {i: r for i, r in objects.items() if r.name == "Model"}
    assert all(link[2] == 0 for link in links if link[1] in models), "models are not flat"

    curves: dict[tuple[int, str], dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    targets = {link[1]: (link[2], link[3]) for link in links if link[0] == "OP" and objects[link[1]].name == "AnimationCurveNode"}
    for link in links:
        if link[0] == "OP" and objects[link[1]].name == "AnimationCurve":
            record = objects[link[1]]
            times, values = record.get("KeyTime").values[0], record.get("KeyValueFloat").values[0]
            curves.setdefault(targets[link[2]], {})[link[3]] = (times / TICKS_PER_SECOND * fps, values)

    def sample(owner: int, name: str, frames: np.ndarray, channels: str) -> np.ndarray:
        """Values at frames, (F, 3) for X Y Z, else (F, 1)."""
        record = objects[owner]
        usual = [1, 1, 1] if "Scaling" in name else [0, 0, 0]
        still = record.properties().get(name, usual)
        moving = curves.get((owner, name), {})
        columns = []
        for i, channel in enumerate(channels.split()):
            found = moving.get(f"d|{channel}")
            columns.append(np.interp(frames, *found) if found else np.full(len(frames), float(still[i])))
        return np.stack(columns, 1)

    def matrices(model: int, frames: np.ndarray) -> np.ndarray:
        place, turn, size = (sample(model, f"Lcl {name}", frames, "X Y Z") for name in ("Translation", "Rotation", "Scaling"))
        made = np.tile(np.eye(4), (len(frames), 1, 1))
        for i in range(len(frames)):
            made[i, :3, :3] = euler_matrix(turn[i]) * size[i]
            made[i, :3, 3] = place[i]
        return made

    camera = next(i for i, record in models.items() if record.values[2] == "Camera")
    attribute = next(link[1] for link in links if link[2] == camera and objects[link[1]].name == "NodeAttribute")
    keys = [times for (owner, _), channels in curves.items() for times, _ in channels.values() if owner in (camera, attribute)]
    frames = np.unique(np.round(np.concatenate(keys), 6))
    poses = matrices(camera, frames) @ _FBX_CAMERA
    assert np.allclose(np.linalg.norm(poses[:, :3, :3], axis=1), 1, atol=1e-5), "the camera is scaled"
    poses[:, :3, 3] *= metres
    film = objects[attribute].properties()
    inch = 25.4
    meshes = {}
    for link in links:
        if link[2] in models and objects[link[1]].name == "Geometry":
            local = objects[link[1]].get("Vertices").values[0].reshape(-1, 3)
            matrix = matrices(link[2], frames[:1])[0]
            meshes[models[link[2]].values[1].split("\x00")[0]] = (local @ matrix[:3, :3].T + matrix[:3, 3]) * metres
    own = {key: float(value[0]) for key, value in models[camera].properties().items() if key.startswith("holdfast_")}
    count = len(frames)
    return Scene(
        fps,
        frames.tolist(),
        poses,
        sample(attribute, "FocalLength", frames, "FocalLength")[:, 0],
        np.tile([film["FilmWidth"][0] * inch, film["FilmHeight"][0] * inch], (count, 1)),
        np.tile([film["FilmOffsetX"][0] * inch, film["FilmOffsetY"][0] * inch], (count, 1)),
        middles_of_octahedra(meshes.pop("points")) if "points" in meshes else np.zeros((0, 3)),
        meshes,
        own,
    )
