"""A scene as arrays for the graphics card: one row of numbers an item, items of one mesh beside each other, textures as layers.

With thousands of items a scene, a draw call and a dozen uniforms for each would be slower than the drawing.
"""

from __future__ import annotations

import cv2
import numpy as np

ITEM_TEXELS = 7  # RGBA texels a row: three of placement, then scale and tile, colour and layer, material, texture and id
LAYER_PX = 256


def pack_items(items: list, layer_of) -> tuple[np.ndarray, list[tuple[object, int, int]]]:
    """((N, ITEM_TEXELS, 4) float32, [(mesh, first row, count)]): items sorted by mesh, in the layout that the shaders read.

    layer_of: texture array or None -> number of its layer.
    """
    first: dict[int, int] = {}  # by first appearance: addresses would order (and so draw) them differently every time
    order = sorted(range(len(items)), key=lambda k: first.setdefault(id(items[k].mesh), k))
    rows = np.empty((len(items), ITEM_TEXELS, 4), np.float32)
    groups: list[tuple[object, int, int]] = []
    for row, k in enumerate(order):
        item = items[k]
        placed = rows[row]
        placed[:3, :3] = item.rotation
        placed[:3, 3] = item.position
        placed[3, :3] = item.scale
        cut_out = item.texture is not None and item.texture.shape[2] == 4
        placed[3, 3] = item.tile_m or 0.0
        placed[4, :3] = item.colour
        placed[4, 3] = layer_of(item.texture)
        placed[5] = (item.specular, item.shininess, item.bump, item.emission)
        placed[6, :2] = item.uv_scale
        # What throws no shadow has a quarter more than its id.
        placed[6, 2] = 1.0 if cut_out else 0.0
        placed[6, 3] = item.object_id if item.casts_shadow else item.object_id + 0.25
        if groups and groups[-1][0] is item.mesh:
            groups[-1] = (item.mesh, groups[-1][1], groups[-1][2] + 1)
        else:
            groups.append((item.mesh, row, 1))
    return rows, groups


def as_layer(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3 or 4) uint8 -> (LAYER_PX, LAYER_PX, 4): opaque where it has no fourth channel."""
    if pixels.shape[:2] != (LAYER_PX, LAYER_PX):
        nearest = max(pixels.shape[:2]) < 16
        pixels = cv2.resize(pixels, (LAYER_PX, LAYER_PX), interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_AREA)
    if pixels.shape[2] == 4:
        return np.ascontiguousarray(pixels)
    return np.concatenate([pixels, np.full((LAYER_PX, LAYER_PX, 1), 255, np.uint8)], axis=2)
