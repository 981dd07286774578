"""What every reader gives back, and the projection that is held against the solve."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Scene:
    """An exported scene in metres and y up. Cameras look along -z with y up; film sizes and offsets share one unit per camera."""

    fps: float
    frames: list[float]
    world_from_camera: np.ndarray  # (F, 4, 4)
    focal: np.ndarray  # (F,)
    film: np.ndarray  # (F, 2) width, height
    offset: np.ndarray  # (F, 2) of the film's middle, right and up
    points: np.ndarray  # (P, 3)
    meshes: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (V, 3)
    properties: dict[str, float] = field(default_factory=dict)  # custom ones of the camera

    def project(self, points: np.ndarray, index: int, width: int, height: int) -> np.ndarray:
        """(P, 2) px from the top left corner of world points in a frame of a picture of width x height."""
        pose = self.world_from_camera[index]
        local = (points - pose[:3, 3]) @ np.linalg.inv(pose[:3, :3]).T
        on_film = self.focal[index] * local[:, :2] / -local[:, 2:]
        share = (on_film - self.offset[index]) / self.film[index] + 0.5
        return np.stack([share[:, 0] * width, (1 - share[:, 1]) * height], -1)


def middles_of_octahedra(vertices: np.ndarray) -> np.ndarray:
    """(P, 3) of the (6 P, 3) corners that stand for points where a format has none."""
    return vertices.reshape(-1, 6, 3).mean(1)
