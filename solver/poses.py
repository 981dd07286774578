"""Small facts about cameras that writers and readers share."""

from __future__ import annotations

import numpy as np

from .types import Solution


def focal_xy(solution: Solution) -> np.ndarray:
    """(F, 2) focal lengths in px across and down. A pixel wider than it is tall makes the focal length across the smaller one."""
    return np.stack([solution.focal_px, solution.focal_px * solution.clip.pixel_aspect], -1)


def world_from_cam(cam_from_world: np.ndarray) -> np.ndarray:
    """(F, 4, 4) inverses of rigid transforms, exact in the rotation."""
    rotation = cam_from_world[:, :3, :3].transpose(0, 2, 1)
    result = np.zeros_like(cam_from_world)
    result[:, :3, :3] = rotation
    result[:, :3, 3] = -np.einsum("fij,fj->fi", rotation, cam_from_world[:, :3, 3])
    result[:, 3, 3] = 1.0
    return result
