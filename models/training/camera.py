"""Matrices as OpenGL wants them."""

from __future__ import annotations

import numpy as np


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
