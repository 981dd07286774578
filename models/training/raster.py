"""A small rasteriser on OpenGL through EGL: textured meshes, one sun with a shadow map, a few lamps, exact depth.

It needs no screen and no GPU (Mesa's llvmpipe will do; packages libegl1 and libgl1-mesa-dri) and the Python package moderngl.

    raster = Rasteriser(320, 192, samples=1)
    rgb, depth, ids = raster.render(scene, cam_from_world, fx, fy, cx, cy)

Cameras are OpenCV's (x right, y down, z forward); the image spans [0, W] x [0, H], pixel centres at + 0.5. World units: metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .camera import gl_bytes, projection, set_light, set_sky, shadow_matrix
from .packed import ITEM_TEXELS, LAYER_PX, as_layer, pack_items
from .shaders import (
    GEOMETRY_FRAGMENT,
    MESH_FRAGMENT,
    MESH_VERTEX,
    RESOLVE_FRAGMENT,
    SHADOW_FRAGMENT,
    SHADOW_VERTEX,
    SKY_FRAGMENT,
    SKY_VERTEX,
)

VIEWS_AT_ONCE = 12


@dataclass(eq=False)
class Mesh:
    """Triangles. Corners with different normals or texture positions are separate vertices."""

    vertices: np.ndarray  # (V, 3) float32
    normals: np.ndarray  # (V, 3) float32, unit
    uv: np.ndarray  # (V, 2) float32, 0..1 over the texture
    faces: np.ndarray  # (T, 3) int32


@dataclass(eq=False)
class Item:
    """A mesh placed in the world."""

    mesh: Mesh
    object_id: int  # > 0; 0 is the sky
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))  # world from object
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))  # metres
    scale: np.ndarray = field(default_factory=lambda: np.ones(3))  # metres per mesh unit, along the object's axes
    texture: np.ndarray | None = (
        None  # (h, w, 3|4) uint8 sRGB; a fourth channel below 128 cuts holes; shared arrays are uploaded once
    )
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)  # linear, multiplies the texture
    tile_m: float | None = None  # metres a texture tile covers, mapped on the three axes; None: the mesh's own uv
    uv_scale: tuple[float, float] = (1.0, 1.0)
    specular: float = 0.0
    shininess: float = 32.0
    bump: float = 0.0  # relief read from the texture's brightness
    emission: float = 0.0  # 0..1: how far it shines by itself
    casts_shadow: bool = True


@dataclass
class Scene:
    """What is seen and what lights it. Colours are linear; the picture is exposed, then gamma-encoded."""

    items: list[Item]
    sun_direction: np.ndarray = field(default_factory=lambda: np.array([0.4, 0.3, 0.85]))  # towards the sun
    sun_colour: tuple[float, float, float] = (2.2, 2.1, 1.9)
    ambient_up: tuple[float, float, float] = (0.45, 0.5, 0.6)  # light from above
    ambient_down: tuple[float, float, float] = (0.2, 0.18, 0.16)  # light from below
    lamps: list[tuple] = field(default_factory=list)  # ((x, y, z), (r, g, b), reach in metres), no shadows, at most MAX_LAMPS
    sky_zenith: tuple[float, float, float] = (0.25, 0.45, 0.85)
    sky_horizon: tuple[float, float, float] = (0.75, 0.82, 0.9)
    clouds: float = 0.0  # 0..1
    sky_seed: float = 0.0
    fog_colour: tuple[float, float, float] = (0.75, 0.8, 0.85)
    fog_density: float = 0.0  # per metre
    exposure: float = 1.0
    softness: float = 1.5  # radius of a shadow's edge, in pixels of the shadow map
    up: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))
    shadow_centre: np.ndarray = field(default_factory=lambda: np.zeros(3))  # the shadow map covers a ball
    shadow_radius: float = 20.0  # metres


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
        self._programs = {
            "mesh": ctx.program(MESH_VERTEX, MESH_FRAGMENT),
            "geometry": ctx.program(MESH_VERTEX, GEOMETRY_FRAGMENT),
            "shadow": ctx.program(SHADOW_VERTEX, SHADOW_FRAGMENT),
        }
        self._sky_program = ctx.program(SKY_VERTEX, SKY_FRAGMENT)
        self._resolve_program = ctx.program(SKY_VERTEX, RESOLVE_FRAGMENT)
        corners = ctx.buffer(np.float32([-1, -1, 3, -1, -1, 3]).tobytes())
        self._sky = ctx.vertex_array(self._sky_program, [(corners, "2f", "corner")])
        self._resolve = ctx.vertex_array(self._resolve_program, [(corners, "2f", "corner")])
        self._shadow_map = ctx.depth_texture((shadow_px, shadow_px))
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_frame = ctx.framebuffer(depth_attachment=self._shadow_map)
        size = (width * samples, height * samples)
        self._colour = ctx.texture(size, 4, dtype="f1")
        self._colour_frame = ctx.framebuffer([self._colour], ctx.depth_renderbuffer(size))
        self._geometry = ctx.texture((width, height), 4, dtype="f4")
        self._geometry_frame = ctx.framebuffer([self._geometry], ctx.depth_renderbuffer((width, height)))
        # Several views side by side, read back at once: the card waits for nothing in between.
        self._pictures_frame = ctx.framebuffer([ctx.texture((width, height * VIEWS_AT_ONCE), 4, dtype="f1")])
        coarse = (width // 2, height // 2 * VIEWS_AT_ONCE)
        self._survey_frame = ctx.framebuffer([ctx.texture(coarse, 2, dtype="f2")], ctx.depth_renderbuffer(coarse))
        self._white = np.full((LAYER_PX, LAYER_PX, 3), 255, np.uint8)
        self._meshes: dict[int, tuple] = {}
        self._layers: dict[int, tuple[np.ndarray, int]] = {}
        self._pictures = None  # the texture array, made when the first scene is drawn
        self._stale_mipmaps = False
        self._packed: tuple | None = None  # (scene, texture of its rows, groups) of the scene drawn last
        self._shadowed = None  # the scene whose shadow map is filled

    def forget(self, meshes: bool = True, textures: bool = True) -> None:
        """Frees what was uploaded; call it now and then when every scene brings its own meshes."""
        if meshes:
            for _, arrays, buffers in self._meshes.values():
                for thing in (*arrays.values(), *buffers):
                    thing.release()
            self._meshes.clear()
        if textures:
            self._layers.clear()
        self.changed()

    def changed(self) -> None:
        """To be called when the items of a scene changed since it was last drawn."""
        if self._packed is not None:
            self._packed[1].release()
        self._packed = self._shadowed = None

    def _layer(self, pixels: np.ndarray | None) -> int:
        """The texture array's layer that holds these pixels, uploaded at their first use."""
        pixels = self._white if pixels is None else pixels
        entry = self._layers.get(id(pixels))
        if entry is None:
            entry = self._layers[id(pixels)] = (pixels, len(self._layers))  # holding the array keeps its id from being reused
            if self._pictures is None or len(self._layers) > self._pictures.size[2]:
                self._grow()
            else:
                self._pictures.write(as_layer(pixels).tobytes(), viewport=(0, 0, entry[1], LAYER_PX, LAYER_PX, 1))
            self._stale_mipmaps = True
        return entry[1]

    def _grow(self) -> None:
        """A larger texture array with all layers so far."""
        if self._pictures is not None:
            self._pictures.release()
        self._pictures = self.ctx.texture_array((LAYER_PX, LAYER_PX, max(2 * len(self._layers), 16)), 4)
        for pixels, layer in self._layers.values():
            self._pictures.write(as_layer(pixels).tobytes(), viewport=(0, 0, layer, LAYER_PX, LAYER_PX, 1))

    def _mesh(self, mesh: Mesh) -> dict:
        entry = self._meshes.get(id(mesh))
        if entry is None:
            packed = np.concatenate([mesh.vertices, mesh.normals, mesh.uv], axis=1).astype(np.float32)
            vertices = self.ctx.buffer(packed.tobytes())
            indices = self.ctx.buffer(np.ascontiguousarray(mesh.faces, np.int32).tobytes())
            full = [(vertices, "3f 3f 2f", "in_position", "in_normal", "in_uv")]
            arrays = {
                "mesh": self.ctx.vertex_array(self._programs["mesh"], full, indices),
                "geometry": self.ctx.vertex_array(self._programs["geometry"], full, indices),
                "shadow": self.ctx.vertex_array(self._programs["shadow"], [(vertices, "3f 12x 8x", "in_position")], indices),
            }
            entry = self._meshes[id(mesh)] = (mesh, arrays, (vertices, indices))
        return entry[1]

    def _pack(self, scene: Scene) -> None:
        """Uploads a scene that is not the one drawn last."""
        if self._packed is not None and self._packed[0] is scene and self._packed[3] == list(map(id, scene.items)):
            return
        self.changed()
        rows, groups = pack_items(scene.items, self._layer)
        if self._stale_mipmaps:
            self._pictures.build_mipmaps()
            self._pictures.filter = (self._mgl.LINEAR_MIPMAP_LINEAR, self._mgl.LINEAR)
            self._stale_mipmaps = False
        texture = self.ctx.texture((ITEM_TEXELS, len(rows)), 4, rows.tobytes(), dtype="f4")
        texture.filter = (self._mgl.NEAREST, self._mgl.NEAREST)
        self._packed = (scene, texture, groups, list(map(id, scene.items)))

    def _draw(self, kind: str) -> None:
        """All items of the packed scene, a draw call a mesh."""
        program = self._programs[kind]
        _, rows, groups, _ = self._packed
        rows.use(2)
        program["item_rows"].value = 2
        if kind != "shadow":
            self._pictures.use(0)
            program["pictures"].value = 0
        first = program["first"]
        for mesh, start, count in groups:
            first.value = start
            self._mesh(mesh)[kind].render(instances=count)

    def _render_shadow(self, scene: Scene) -> np.ndarray:
        """Fills the shadow map; returns (4, 4) shadow clip from world."""
        matrix = shadow_matrix(scene)
        if self._shadowed is not scene:  # it does not depend on the camera
            self._shadow_frame.use()
            self._shadow_frame.clear(depth=1.0)
            self._programs["shadow"]["clip_from_world"].write(gl_bytes(matrix))
            self._draw("shadow")
            self._shadowed = scene
        return matrix

    def render(
        self,
        scene: Scene,
        cam_from_world: np.ndarray,
        fx: float,
        fy: float,
        cx: float,
        cy: float,
        shade: tuple[float, float, float] = (0.1, 0.5, 0.0),
        turn: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(rgb (H, W, 3) uint8, z-depth (H, W) float32 metres, inf for the sky, object ids (H, W) int32, 0 for the sky).

        shade: two ranges in metres and the strength of ambient occlusion (0: none); turn: where its rays start, radians.
        """
        depth, ids = self.geometry(scene, cam_from_world, fx, fy, cx, cy)
        return self.colour(scene, cam_from_world, fx, fy, cx, cy, shade, turn), depth, ids

    def _clip_from_world(self, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
        return projection(fx, fy, cx, cy, self.width, self.height, self.near, self.far) @ cam_from_world

    def preload(self, textures: list[np.ndarray]) -> None:
        """Uploads textures that scenes to come will use, all at once."""
        for pixels in textures:
            self._layers.setdefault(id(pixels), (pixels, len(self._layers)))
        self._grow()
        self._stale_mipmaps = True

    def survey(self, scene: Scene, cameras: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
        """(z-depth (N, H/2, W/2) float32 metres, inf for the sky, ids (N, H/2, W/2) int) of up to VIEWS_AT_ONCE cameras
        (cam_from_world, fx, fy, cx, cy), at the middle of every 2x2 pixels."""
        self._pack(scene)
        w, h = self.width // 2, self.height // 2
        self._survey_frame.use()
        self._survey_frame.clear(depth=1.0)
        for k, camera in enumerate(cameras):
            self._survey_frame.viewport = (0, k * h, w, h)
            self._draw_geometry(*camera)
        self._survey_frame.viewport = (0, 0, w, h * len(cameras))
        raw = self._survey_frame.read(viewport=(0, 0, w, h * len(cameras)), components=2, dtype="f2", alignment=1)
        values = np.frombuffer(raw, np.float16).reshape(len(cameras), h, w, 2)
        ids = np.rint(values[..., 1].astype(np.float32)).astype(np.int32)
        return np.where(ids > 0, values[..., 0].astype(np.float32), np.float32(np.inf)), ids

    def pictures(self, scene: Scene, cameras: list[tuple], shades: list[tuple], turns: list[float]) -> np.ndarray:
        """(N, H, W, 3) uint8 of up to VIEWS_AT_ONCE cameras, each with its own occlusion (see `render`)."""
        self._pack(scene)
        for k, (camera, shade, turn) in enumerate(zip(cameras, shades, turns, strict=True)):
            self._fill_geometry(*camera)
            self._fill_colour(scene, *camera)
            self._fill_picture(k, camera[1:], shade, turn)
        raw = self._pictures_frame.read(viewport=(0, 0, self.width, self.height * len(cameras)), components=4, alignment=1)
        return np.frombuffer(raw, np.uint8).reshape(len(cameras), self.height, self.width, 4)[..., :3]

    def colour(
        self,
        scene: Scene,
        cam_from_world: np.ndarray,
        fx: float,
        fy: float,
        cx: float,
        cy: float,
        shade=(0.1, 0.5, 0.0),
        turn=0.0,
    ) -> np.ndarray:
        """The picture alone, (H, W, 3) uint8."""
        camera = (np.asarray(cam_from_world, float), fx, fy, cx, cy)
        return np.ascontiguousarray(self.pictures(scene, [camera], [shade], [turn])[0])

    def _fill_colour(self, scene: Scene, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> None:
        """Draws the supersampled colours."""
        shadow_from_world = self._render_shadow(scene)
        w, h = self.width, self.height
        cam_from_world = np.asarray(cam_from_world, float)
        clip_from_world = self._clip_from_world(cam_from_world, fx, fy, cx, cy)
        self._colour_frame.use()
        self._colour_frame.clear(depth=1.0)
        self.ctx.disable(self._mgl.DEPTH_TEST)
        set_sky(self._sky_program, scene, cam_from_world, (fx, fy, cx, cy), w, h)
        self._sky.render()
        self.ctx.enable(self._mgl.DEPTH_TEST)

        program = self._programs["mesh"]
        set_light(program, scene, cam_from_world, clip_from_world, shadow_from_world)
        program["softness"].value = float(scene.softness)
        self._shadow_map.use(1)
        program["shadow_map"].value = 1
        self._draw("mesh")

    def _fill_picture(self, place: int, lens: tuple, shade: tuple, turn: float) -> None:
        """The supersampled colours as one of the pictures."""
        self._pictures_frame.use()
        self._pictures_frame.viewport = (0, place * self.height, self.width, self.height)
        self.ctx.disable(self._mgl.DEPTH_TEST)
        self._colour.use(0)
        self._geometry.use(1)
        program = self._resolve_program
        program["colours"].value, program["shape"].value, program["samples"].value = 0, 1, self.samples
        program["lens"].value, program["shade"].value = tuple(map(float, lens)), tuple(map(float, shade))
        program["turn"].value, program["row"].value = float(turn), place * self.height
        self._resolve.render()
        self.ctx.enable(self._mgl.DEPTH_TEST)

    def _draw_geometry(self, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> None:
        """Depth, ids and normals into the frame in use."""
        cam_from_world = np.asarray(cam_from_world, float)
        program = self._programs["geometry"]
        program["clip_from_world"].write(gl_bytes(self._clip_from_world(cam_from_world, fx, fy, cx, cy)))
        program["cam_from_world"].write(gl_bytes(cam_from_world[:3, :3]))
        program["eye"].value = tuple(map(float, -cam_from_world[:3, :3].T @ cam_from_world[:3, 3]))
        self._draw("geometry")

    def _fill_geometry(self, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> None:
        self._geometry_frame.use()
        self._geometry_frame.clear(depth=1.0)
        self._draw_geometry(cam_from_world, fx, fy, cx, cy)

    def geometry(
        self, scene: Scene, cam_from_world: np.ndarray, fx: float, fy: float, cx: float, cy: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """(z-depth, object ids) alone, as `render` gives them."""
        self._pack(scene)
        self._fill_geometry(cam_from_world, fx, fy, cx, cy)
        raw = self._geometry_frame.read(components=2, dtype="f4", alignment=1)
        geometry = np.frombuffer(raw, np.float32).reshape(self.height, self.width, 2)
        ids = np.rint(geometry[..., 1]).astype(np.int32)
        depth = np.where(ids > 0, geometry[..., 0], np.float32(np.inf)).astype(np.float32)
        return depth, ids
