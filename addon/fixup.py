# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixing the scene by points of the cloud: origin, ground, axis, scale. Only the parent moves; the camera's keys stay as solved.

The points are the selected vertices of the cloud (in its edit mode, or what was selected when it was left).
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from . import scene_objects


class FixError(Exception):
    """The selected points do not allow this; the message says why in one line."""


def selected_points(scene: bpy.types.Scene, uid: str) -> np.ndarray:
    """Selected points of the clip's cloud in the scene, (N, 3). Raises FixError where there is no cloud."""
    cloud = scene_objects.find(scene, uid, scene_objects.POINTS)
    if cloud is None:
        raise FixError("This scene has no point cloud of the clip")
    if cloud.mode == "EDIT":
        cloud.update_from_editmode()
    mesh = cloud.data
    chosen = np.zeros(len(mesh.vertices), bool)
    mesh.vertices.foreach_get("select", chosen)
    values = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", values)
    matrix = np.array(cloud.matrix_world)
    return values.reshape(-1, 3)[chosen].astype(float) @ matrix[:3, :3].T + matrix[:3, 3]


def origin(points: np.ndarray) -> np.ndarray:
    """Similarity (4x4) that moves the middle of the points to the scene's origin."""
    if len(points) < 1:
        raise FixError("Select one point or more: their middle becomes the origin")
    out = np.eye(4)
    out[:3, 3] = -points.mean(0)
    return out


def ground(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Similarity that lays the plane through three or more points at z = 0, the camera (3,) above it, turned as little as
    possible.
    """
    if len(points) < 3:
        raise FixError("Select three points or more on the ground")
    centre = points.mean(0)
    spread, axes = np.linalg.svd(points - centre, full_matrices=False)[1:]
    if spread[1] < 1e-3 * spread[0]:
        raise FixError("These points lie on one line: select some beside it")
    normal = axes[2] if axes[2] @ (camera - centre) > 0 else -axes[2]
    turn = _shortest_turn(normal, np.array([0.0, 0.0, 1.0]))
    out = np.eye(4)
    out[:3, :3] = turn
    # The foot of the camera stays where it is: the view does not jump.
    foot = camera - normal * (normal @ (camera - centre))
    target = np.array([foot[0], foot[1], 0.0])
    out[:3, 3] = target - turn @ foot
    return out


def axis(points: np.ndarray, name: str) -> np.ndarray:
    """Similarity that turns the scene about z so that two points lie along the axis "X" or "Y"."""
    if len(points) != 2:
        raise FixError("Select exactly two points along the axis")
    along = points[1] - points[0]
    if np.linalg.norm(along[:2]) < 1e-6 * max(1e-9, np.linalg.norm(along)):
        raise FixError("These points lie above each other: they tell nothing about the axis")
    angle = np.arctan2(along[1], along[0])
    wanted = 0.0 if name == "X" else np.pi / 2
    # Two points do not say which is first: the smaller turn is meant.
    turn = (wanted - angle + np.pi / 2) % np.pi - np.pi / 2
    out = np.eye(4)
    c, s = np.cos(turn), np.sin(turn)
    out[:2, :2] = ((c, -s), (s, c))
    out[:3, 3] = points[0] - out[:3, :3] @ points[0]
    return out


def scale(points: np.ndarray, distance: float) -> np.ndarray:
    """Similarity about the scene's origin that brings two points to a distance in scene units."""
    if len(points) != 2:
        raise FixError("Select exactly two points whose distance you know")
    now = float(np.linalg.norm(points[1] - points[0]))
    if now < 1e-9 or distance <= 0:
        raise FixError("The two points must be apart, and the distance more than nothing")
    return np.diag([distance / now] * 3 + [1.0])


def apply(scene: bpy.types.Scene, uid: str, change: np.ndarray) -> None:
    """Move everything of a clip by a similarity of the scene: the parent carries it. Props dropped into the shot go along."""
    parent = scene_objects.find(scene, uid, scene_objects.PARENT)
    if parent is None:
        raise FixError("This scene has no solve of the clip")
    matrix = Matrix(change.tolist())
    parent.matrix_world = matrix @ parent.matrix_world
    for prop in scene_objects.riders(scene, uid):
        prop.matrix_world = matrix @ prop.matrix_world
    bpy.context.view_layer.update()


def _shortest_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that takes unit vector a to b by the smallest angle (Rodrigues)."""
    cross, cosine = np.cross(a, b), float(a @ b)
    if cosine < -1.0 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    k = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + k + k @ k / (1.0 + cosine)
