"""What OpenGL is told of a camera, the sky and the light, by the training pictures' rasteriser and the bench's alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .shaders import MAX_LAMPS

if TYPE_CHECKING:
    from .raster import Scene


def projection(fx: float, fy: float, cx: float, cy: float, width: int, height: int, near: float, far: float) -> np.ndarray:
    """(4, 4) clip from OpenCV camera. Image rows run with clip y, so that what is read back starts with the top row."""
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[0, 2] = 2 * fx / width, 2 * cx / width - 1
    matrix[1, 1], matrix[1, 2] = 2 * fy / height, 2 * cy / height - 1
    matrix[2, 2], matrix[2, 3] = (far + near) / (far - near), -2 * far * near / (far - near)
    matrix[3, 2] = 1
    return matrix


def gl_bytes(matrix: np.ndarray) -> bytes:
    """Column-major float32, as OpenGL reads matrices."""
    return np.ascontiguousarray(np.asarray(matrix).T, np.float32).tobytes()


def shadow_matrix(scene: Scene) -> np.ndarray:
    """(4, 4) shadow clip from world: the sun's view of the ball that the scene's shadow map covers."""
    forward = -np.asarray(scene.sun_direction, float)
    forward /= np.linalg.norm(forward)
    side = np.cross(forward, [0.0, 0.0, 1.0] if abs(forward[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    rotation = np.stack([side, np.cross(forward, side), forward])
    r = scene.shadow_radius
    matrix = np.eye(4)
    # Casters up to four radii towards the sun still throw their shadow into the ball.
    matrix[:3, :3] = rotation / np.array([[r], [r], [2.5 * r]])
    matrix[:3, 3] = -matrix[:3, :3] @ np.asarray(scene.shadow_centre, float)
    matrix[2, 3] += 0.6
    return matrix


def set_sky(program, scene: Scene, cam_from_world: np.ndarray, lens: tuple[float, float, float, float], w: int, h: int) -> None:
    """Uniforms of the sky's program; lens: fx, fy, cx, cy in px of a picture of w x h px."""
    fx, fy, cx, cy = lens
    # Ray of a pixel: world from camera times ((u - cx) / fx, (v - cy) / fy, 1).
    rays = cam_from_world[:3, :3].T @ np.array(
        [[w / 2 / fx, 0, (w / 2 - cx) / fx], [0, h / 2 / fy, (h / 2 - cy) / fy], [0, 0, 1]]
    )
    program["world_from_clip"].write(gl_bytes(rays))
    for name, value in (
        ("up", scene.up),
        ("zenith", scene.sky_zenith),
        ("horizon", scene.sky_horizon),
        ("sun_direction", scene.sun_direction),
        ("sun_colour", scene.sun_colour),
    ):
        program[name].value = tuple(map(float, value))
    program["sky"].value = (float(scene.clouds), float(scene.sky_seed), float(scene.exposure))


def set_light(
    program, scene: Scene, cam_from_world: np.ndarray, clip_from_world: np.ndarray, shadow_from_world: np.ndarray
) -> None:
    """Uniforms of the meshes' program that say where the camera is and what light falls on everything."""
    program["clip_from_world"].write(gl_bytes(clip_from_world))
    program["shadow_from_world"].write(gl_bytes(shadow_from_world))
    for name, value in (
        ("eye", -cam_from_world[:3, :3].T @ cam_from_world[:3, 3]),
        ("up", scene.up),
        ("sun_direction", scene.sun_direction),
        ("sun_colour", scene.sun_colour),
        ("ambient_up", scene.ambient_up),
        ("ambient_down", scene.ambient_down),
    ):
        program[name].value = tuple(map(float, value))
    program["fog"].value = (*map(float, scene.fog_colour), float(scene.fog_density))
    program["exposure"].value = float(scene.exposure)
    lamps = scene.lamps[:MAX_LAMPS]
    blank = [((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 1.0)] * (MAX_LAMPS - len(lamps))
    program["lamp_position"].value = [(*map(float, p), float(reach)) for p, _, reach in (*lamps, *blank)]
    program["lamp_colour"].value = [tuple(map(float, c)) for _, c, _ in (*lamps, *blank)]
