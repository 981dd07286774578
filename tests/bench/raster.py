"""The bench's rasteriser, on OpenGL through EGL: textures at their full size, one large picture after the other, exact depth.

Scenes are described as for the training pictures (models/training/raster.py), whose own rasteriser makes many small ones.

It needs no screen and no GPU (Mesa's llvmpipe will do; packages libegl1 and libgl1-mesa-dri) and the Python package moderngl.

    raster = Rasteriser(1280, 720, samples=1)
    rgb, depth, ids = raster.render(scene, cam_from_world, fx, fy, cx, cy)

Cameras are OpenCV's (x right, y down, z forward); the image spans [0, W] x [0, H], pixel centres at + 0.5. World units: metres.
"""

from __future__ import annotations

import numpy as np

from models.training.camera import gl_bytes, projection, set_light, set_sky, shadow_matrix
from models.training.raster import Mesh, Scene
from models.training.shaders import SHADOW_FRAGMENT, SKY_FRAGMENT, SKY_VERTEX
from tests.bench.shaders import GEOMETRY_FRAGMENT, MESH_FRAGMENT, MESH_VERTEX, SHADOW_VERTEX


class Rasteriser:
    """An off-screen renderer of one picture size. Make one per process; textures and meshes stay on it until `forget`."""

    def __init__(
        self, width: int, height: int, samples: int = 1, shadow_px: int = 1024, near: float = 0.05, far: float = 3000.0
    ) -> None:
        """samples: NxN supersampling of the colours; depth and ids are those of the pixel's centre. near, far in metres."""
        import moderngl

        self._mgl = moderngl
        self.width, self.height, self.samples, self.near, self.far = width, height, samples, near, far
        ctx = self.ctx = moderngl.create_context(standalone=True, backend="egl", require=330)
        ctx.enable(moderngl.DEPTH_TEST)
        self._mesh_program = ctx.program(MESH_VERTEX, MESH_FRAGMENT)
        self._geometry_program = ctx.program(MESH_VERTEX, GEOMETRY_FRAGMENT)
        self._shadow_program = ctx.program(SHADOW_VERTEX, SHADOW_FRAGMENT)
        self._sky_program = ctx.program(SKY_VERTEX, SKY_FRAGMENT)
        self._sky = ctx.vertex_array(
            self._sky_program, [(ctx.buffer(np.float32([-1, -1, 3, -1, -1, 3]).tobytes()), "2f", "corner")]
        )
        self._shadow_map = ctx.depth_texture((shadow_px, shadow_px))
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_frame = ctx.framebuffer(depth_attachment=self._shadow_map)
        size = (width * samples, height * samples)
        self._colour = ctx.texture(size, 4, dtype="f1")
        self._colour_frame = ctx.framebuffer([self._colour], ctx.depth_renderbuffer(size))
        self._geometry = ctx.texture((width, height), 2, dtype="f4")
        self._geometry_frame = ctx.framebuffer([self._geometry], ctx.depth_renderbuffer((width, height)))
        self._white = np.full((2, 2, 3), 255, np.uint8)
        self._meshes: dict[int, tuple] = {}
        self._textures: dict[int, tuple] = {}

    def forget(self, meshes: bool = True, textures: bool = True) -> None:
        """Frees what was uploaded; call it now and then when every scene brings its own meshes."""
        if meshes:
            for _, arrays, buffers in self._meshes.values():
                for thing in (*arrays.values(), *buffers):
                    thing.release()
            self._meshes.clear()
        if textures:
            for _, texture in self._textures.values():
                texture.release()
            self._textures.clear()

    def _texture(self, pixels: np.ndarray):
        entry = self._textures.get(id(pixels))
        if entry is None:
            h, w, channels = pixels.shape
            texture = self.ctx.texture((w, h), channels, np.ascontiguousarray(pixels).tobytes(), alignment=1)
            texture.build_mipmaps()
            texture.filter = (self._mgl.LINEAR_MIPMAP_LINEAR, self._mgl.LINEAR)
            # A pixel on a floor seen at a slant covers a long strip of it. Averaged over a square instead, edges there change
            # their shape as the camera moves, and every tracker follows that: the crane's slip was twice what it should be.
            texture.anisotropy = 16.0
            entry = self._textures[id(pixels)] = (pixels, texture)  # holding the array keeps its id from being reused
        return entry[1]

    def _mesh(self, mesh: Mesh) -> dict:
        entry = self._meshes.get(id(mesh))
        if entry is None:
            packed = np.concatenate([mesh.vertices, mesh.normals, mesh.uv], axis=1).astype(np.float32)
            vertices = self.ctx.buffer(packed.tobytes())
            indices = self.ctx.buffer(np.ascontiguousarray(mesh.faces, np.int32).tobytes())
            full = [(vertices, "3f 3f 2f", "in_position", "in_normal", "in_uv")]
            arrays = {
                "mesh": self.ctx.vertex_array(self._mesh_program, full, indices),
                "geometry": self.ctx.vertex_array(
                    self._geometry_program, [(vertices, "3f 12x 2f", "in_position", "in_uv")], indices
                ),
                "shadow": self.ctx.vertex_array(self._shadow_program, [(vertices, "3f 12x 8x", "in_position")], indices),
            }
            entry = self._meshes[id(mesh)] = (mesh, arrays, (vertices, indices))
        return entry[1]

    def _draw(self, scene: Scene, kind: str, program) -> None:
        bound = None
        for item in scene.items:
            if kind == "shadow" and not item.casts_shadow:
                continue
            program["world_from_object"].write(gl_bytes(item.rotation))
            program["position"].value = tuple(map(float, item.position))
            program["scale"].value = tuple(map(float, item.scale))
            if kind != "shadow":
                texture = item.texture if item.texture is not None else self._white
                if texture is not bound:
                    self._texture(texture).use(0)
                    bound = texture
                program["tile_m"].value = float(item.tile_m or 0.0)
                program["uv_scale"].value = tuple(map(float, item.uv_scale))
                program["cut_out"].value = texture.shape[2] == 4
            if kind == "mesh":
                program["colour"].value = tuple(map(float, item.colour))
                program["material"].value = (float(item.specular), float(item.shininess), float(item.bump), float(item.emission))
            if kind == "geometry":
                program["object_id"].value = float(item.object_id)
            self._mesh(item.mesh)[kind].render()

    def _render_shadow(self, scene: Scene) -> np.ndarray:
        """Fills the shadow map; returns (4, 4) shadow clip from world."""
        matrix = shadow_matrix(scene)
        self._shadow_frame.use()
        self._shadow_frame.clear(depth=1.0)
        self._shadow_program["clip_from_world"].write(gl_bytes(matrix))
        self._draw(scene, "shadow", self._shadow_program)
        return matrix

    def render(
        self, scene: Scene, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(rgb (H, W, 3) uint8, z-depth (H, W) float32 metres, inf for the sky, object ids (H, W) int32, 0 for the sky)."""
        return self.colour(scene, cam_from_world, fx, fy, cx, cy), *self.geometry(scene, cam_from_world, fx, fy, cx, cy)

    def _clip_from_world(self, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
        return projection(fx, fy, cx, cy, self.width, self.height, self.near, self.far) @ cam_from_world

    def colour(self, scene: Scene, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
        """The picture alone, (H, W, 3) uint8."""
        shadow_from_world = self._render_shadow(scene)
        n, w, h = self.samples, self.width, self.height
        cam_from_world = np.asarray(cam_from_world, float)
        clip_from_world = self._clip_from_world(cam_from_world, fx, fy, cx, cy)
        self._colour_frame.use()
        self._colour_frame.clear(depth=1.0)
        self.ctx.disable(self._mgl.DEPTH_TEST)
        set_sky(self._sky_program, scene, cam_from_world, (fx, fy, cx, cy), w, h)
        self._sky.render()
        self.ctx.enable(self._mgl.DEPTH_TEST)

        program = self._mesh_program
        set_light(program, scene, cam_from_world, clip_from_world, shadow_from_world)
        self._shadow_map.use(1)
        program["picture"].value, program["shadow_map"].value = 0, 1
        self._draw(scene, "mesh", program)

        rgb = np.frombuffer(self._colour_frame.read(components=3, alignment=1), np.uint8).reshape(h * n, w * n, 3)
        if n > 1:
            # Averaged in linear light, as a sensor does.
            linear = (np.arange(256) / 255.0) ** 2.2
            mean = linear.astype(np.float32)[rgb].reshape(h, n, w, n, 3).mean(axis=(1, 3))
            rgb = (mean ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
        return np.ascontiguousarray(rgb)

    def geometry(
        self, scene: Scene, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """(z-depth, object ids) alone, as `render` gives them."""
        w, h = self.width, self.height
        clip_from_world = self._clip_from_world(np.asarray(cam_from_world, float), fx, fy, cx, cy)
        self._geometry_frame.use()
        self._geometry_frame.clear(depth=1.0)
        self._geometry_program["clip_from_world"].write(gl_bytes(clip_from_world))
        self._draw(scene, "geometry", self._geometry_program)
        geometry = np.frombuffer(self._geometry_frame.read(components=2, dtype="f4"), np.float32).reshape(h, w, 2)
        ids = np.rint(geometry[..., 1]).astype(np.int32)
        depth = np.where(ids > 0, geometry[..., 0], np.float32(np.inf)).astype(np.float32)
        return depth, ids
