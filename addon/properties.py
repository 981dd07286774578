# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept with a clip (its settings and its last result) and with a scene, saved in the .blend file."""

from __future__ import annotations

import uuid

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from . import clip_frames, compat

# Common sensors: (identifier, name, width in mm). "CLIP" takes what the clip itself is set to.
SENSORS = (
    ("CLIP", "As Set on the Clip", 0.0),
    ("FULL_FRAME", "Full Frame 36 mm", 36.0),
    ("SUPER35", "Super 35 24.89 mm", 24.89),
    ("ALEXA_LF", "Large Format 36.70 mm", 36.70),
    ("ALEXA35", "Super 35 4.6K 27.99 mm", 27.99),
    ("RED_VV", "VistaVision 8K 40.96 mm", 40.96),
    ("APSC", "APS-C 23.5 mm", 23.5),
    ("APSC_CANON", "APS-C 22.3 mm", 22.3),
    ("MFT", "Micro Four Thirds 17.3 mm", 17.3),
    ("SUPER16", "Super 16 12.52 mm", 12.52),
    ("ONE_INCH", "1 inch 13.2 mm", 13.2),
    ("PHONE", "Phone, main camera 9.8 mm", 9.8),
    ("CUSTOM", "Other", 0.0),
)


# Common cameras: (identifier, name, width in mm of the area a movie shows, focal length in mm of a fixed lens or 0).
CAMERAS = (
    ("ALEXA_MINI", "ARRI Alexa Mini, 3.2K 16:9", 26.40, 0.0),
    ("ALEXA_OG", "ARRI Alexa Mini, Open Gate", 28.25, 0.0),
    ("ALEXA35_43", "ARRI Alexa 35, Open Gate", 27.99, 0.0),
    ("ALEXA_MINI_LF", "ARRI Alexa Mini LF, Open Gate", 36.70, 0.0),
    ("ALEXA65", "ARRI Alexa 65, Open Gate", 54.12, 0.0),
    ("RED_KOMODO", "RED Komodo 6K", 27.03, 0.0),
    ("RED_RAPTOR", "RED V-Raptor 8K VV", 40.96, 0.0),
    ("VENICE", "Sony Venice, full frame 6K", 36.20, 0.0),
    ("FX3", "Sony FX3, FX6, A7S III", 35.60, 0.0),
    ("C300", "Canon C300 III, C70", 26.20, 0.0),
    ("C500", "Canon C500 II", 38.10, 0.0),
    ("BMPCC4K", "Blackmagic Pocket 4K", 18.96, 0.0),
    ("BMPCC6K", "Blackmagic Pocket 6K", 23.10, 0.0),
    ("GH", "Panasonic GH5, GH6", 17.30, 0.0),
    ("STILL_FF", "Full-frame still camera", 36.00, 0.0),
    ("STILL_APSC", "APS-C still camera", 23.50, 0.0),
    ("IPHONE_MAIN", "iPhone 14 Pro or 15 Pro, main camera", 9.80, 6.86),
    ("GOPRO", "GoPro Hero, linear", 6.17, 0.0),
    ("SUPER16_FILM", "Super 16 film", 12.52, 0.0),
    ("SUPER35_FILM", "Super 35 film, 4 perforations", 24.89, 0.0),
)


class HOLDFAST_ClipSettings(bpy.types.PropertyGroup):
    """Settings and last result of one clip."""

    uid: StringProperty(name="Id", options={"HIDDEN"}, description="Tells which objects were made for this clip")

    focal: EnumProperty(
        name="Focal Length",
        default="auto",
        items=(
            ("auto", "Find Out", "Measure the focal length, constant or zooming, as far as the shot determines it"),
            ("known", "Known", "Use the focal length below exactly"),
            ("constant", "Constant", "Measure one focal length for the whole shot"),
            ("varying", "Zoom", "Measure a focal length for every frame"),
        ),
        description="What is known about the focal length. A shot without parallax cannot tell: give it here if you know it",
    )
    focal_mm: FloatProperty(
        name="Focal Length",
        default=0.0,
        min=0.0,
        soft_max=300.0,
        precision=2,
        unit="NONE",
        description="Focal length in millimetres on the sensor chosen below. 0: not known. Only a start unless set to Known",
    )
    sensor: EnumProperty(
        name="Sensor",
        default="CLIP",
        items=tuple((key, name, f"Sensor {width} mm wide" if width else name) for key, name, width in SENSORS),
        description="Width of the camera's sensor, which turns pixels into millimetres",
    )
    sensor_mm: FloatProperty(
        name="Sensor Width",
        default=36.0,
        min=0.5,
        soft_max=70.0,
        precision=2,
        description="Width of the sensor in millimetres, for a sensor not in the list",
    )
    distortion: EnumProperty(
        name="Distortion",
        default="auto",
        items=(
            ("auto", "Find Out", "Measure lens distortion if the shot determines it"),
            ("none", "None", "The footage has straight lines already"),
            ("radial1", "One Term", "Measure one radial term (k1)"),
            ("radial2", "Two Terms", "Measure two radial terms (k1, k2), for wide lenses"),
        ),
        description="How the lens bends straight lines",
    )
    motion: EnumProperty(
        name="Motion",
        default="auto",
        items=(
            ("auto", "Find Out", "Tell a moving camera from a panning one by the footage"),
            ("free", "Free", "The camera moves through the scene"),
            ("rotation", "Tripod", "The camera only turns; depth is then a guess from the depth network"),
            ("static", "Lock-Off", "The camera does not move, however much of the picture does"),
        ),
        description="How the camera moved",
    )
    quality: EnumProperty(
        name="Quality",
        default="standard",
        items=(
            ("draft", "Draft", "Fewest tracks and depth frames: for a first look"),
            ("standard", "Standard", "Good for nearly all shots"),
            ("best", "Best", "More tracks, more adjustment: slower"),
        ),
        description="How much work is put into the solve",
    )

    depth: EnumProperty(
        name="Depth",
        default="auto",
        items=(
            ("auto", "Built-in Network", "The depth network that comes with Holdfast"),
            ("model", "Other Network", "A network by its name or ONNX file"),
            ("maps", "Depth Maps", "A folder of depth maps, one per frame"),
            ("none", "None", "Geometry alone: shots with little parallax may fail"),
        ),
        description="Where single-image depth comes from; it carries shots with little parallax",
    )
    depth_model: StringProperty(
        name="Network",
        subtype="FILE_PATH",
        options=compat.PATH_OPTIONS,
        description="Name of a registered depth network, or an ONNX file",
    )
    depth_maps: StringProperty(
        name="Depth Maps",
        subtype="DIR_PATH",
        options=compat.PATH_OPTIONS,
        description="Folder with a depth map per frame (EXR, 16-bit PNG or NPY), numbered like the clip",
    )
    mask: StringProperty(
        name="Mask",
        subtype="FILE_PATH",
        options=compat.PATH_OPTIONS,
        description="Folder or clip of masks; white is not tracked. Use it for actors and other movers that fill the frame",
    )

    use_range: BoolProperty(name="Part of the Clip", default=False, description="Solve only some of the clip's frames")
    start: IntProperty(name="First Frame", default=1, description="First scene frame to solve")
    end: IntProperty(name="Last Frame", default=250, description="Last scene frame to solve")
    seed: IntProperty(
        name="Seed", default=0, min=0, description="Start of the random choices; the same seed gives the same solve"
    )
    marker_limit: IntProperty(
        name="Tracks on the Clip",
        default=500,
        min=0,
        max=5000,
        description="How many of the solver's tracks are written to the clip as markers, the longest first. 0: none",
    )

    # The last result. Written by the importer, shown by the panel.
    solved: BoolProperty(default=False, options={"HIDDEN"}, description="This clip has a solve in this file")
    job_folder: StringProperty(options={"HIDDEN"}, description="Folder of the last solve's files")
    job_folder_known: StringProperty(options={"HIDDEN"}, description="Where that folder was when it was last seen")
    status: StringProperty(options={"HIDDEN"}, description="good, usable, weak or failed")
    summary: StringProperty(options={"HIDDEN"}, description="The verdict in one line")
    statements: StringProperty(options={"HIDDEN"}, description="The whole verdict, a sentence per line")
    width: IntProperty(options={"HIDDEN"}, description="Width of the solved pictures, in pixels")
    height: IntProperty(options={"HIDDEN"}, description="Height of the solved pictures, in pixels")
    row_time: FloatProperty(options={"HIDDEN"}, description="Rolling shutter: from the first row to the last, in frames")
    error_px: FloatProperty(options={"HIDDEN"}, precision=3, description="Error of tracks held out of the solve, in pixels")
    focal_result_mm: FloatProperty(options={"HIDDEN"}, description="Solved focal length at the middle frame, in millimetres")
    focal_words: StringProperty(options={"HIDDEN"}, description="Focal length and how well it is known")
    frames_solved: IntProperty(options={"HIDDEN"}, description="Frames with a camera")
    frames_total: IntProperty(options={"HIDDEN"}, description="Frames asked for")
    scene_words: StringProperty(options={"HIDDEN"}, description="How the scene was set up: ground, scale")
    error_graph: StringProperty(options={"HIDDEN"}, description="Error over the shot, as a row of bars")
    worst_frames: StringProperty(options={"HIDDEN"}, description="The worst frames and their errors, one per line")
    warnings: StringProperty(options={"HIDDEN"}, description="The solver's warnings, one per line")


def _shadow_strength_changed(own: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Pass the strength on to the proxies' material and to the compositor."""
    from . import compositing, proxy_material

    proxy_material.set_strength(own.id_data, own.shadow_strength)
    compositing.set_strength(own.id_data, own.shadow_strength)


def _rolling_shutter_changed(own: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Render as is wanted now."""
    from . import compositing

    compositing.follow_settings(own.id_data)


class HOLDFAST_SceneSettings(bpy.types.PropertyGroup):
    """What a scene knows of Holdfast."""

    clip: PointerProperty(type=bpy.types.MovieClip, name="Clip", description="The footage this scene is matched to")
    show_live: BoolProperty(
        name="Live Picture",
        default=True,
        description="While solving, show the keypoints on the footage coloured by depth, follow the solver's frames in the Clip "
        "editor, and draw the camera's path and the points in the 3D viewport as they grow",
    )
    overlay: EnumProperty(
        name="Tracks on the Footage",
        default="NONE",
        items=(
            ("NONE", "Off", "Draw nothing of Holdfast's over the footage"),
            ("DEPTH", "Depth", "Draw all tracks of the solve in the Clip editor, coloured from near (red) to far (blue)"),
            (
                "ERROR",
                "Error",
                "Draw all tracks of the solve, coloured by their error in this frame, and a graph of the error over the shot",
            ),
        ),
        description="What is drawn over the footage in the Clip editor. Things that move by themselves are violet",
    )
    shadow_strength: FloatProperty(
        name="Shadow Strength",
        default=0.85,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        update=_shadow_strength_changed,
        description="How dark the props' shadows on the footage's surfaces are: 1 as black as the light allows, 0 none",
    )
    rolling_shutter: BoolProperty(
        name="Rolling Shutter",
        default=False,
        update=_rolling_shutter_changed,
        description="Have Cycles render the props as the sensor, read row by row, would have seen them. Off: props slide a "
        "little towards the top and the bottom when the camera shakes; right where the footage has been freed of its rolling "
        "shutter",
    )
    exposure: FloatProperty(
        name="Exposure",
        default=0.0,
        min=0.0,
        max=1.0,
        precision=2,
        update=_rolling_shutter_changed,
        description="How long each row was exposed, in frames: the props' motion blur. A 180 degree shutter is 0.5, 0 is sharp",
    )
    show_points: BoolProperty(
        name="Point Colours in Solid",
        default=True,
        description="Draw the point cloud in its own colours in Solid shading, where Blender itself shows it grey",
    )
    prop_kind: EnumProperty(
        name="Prop",
        default="CONE",
        items=(
            ("CONE", "Cone", "A cone: shows slipping at its foot"),
            ("CUBE", "Checker Cube", "A cube with a checker pattern: shows perspective and scale"),
            ("CHROME", "Chrome Ball", "A mirror ball: shows the surroundings"),
            ("GREY", "Grey Ball", "A ball of 18 % grey: shows the light"),
        ),
        description="Test object to drop into the shot",
    )


_CLASSES = (HOLDFAST_ClipSettings, HOLDFAST_SceneSettings)


def sensor_width_mm(clip: bpy.types.MovieClip) -> float:
    """Width of the sensor chosen for a clip, in mm."""
    # Not a method of the settings: Blender 4.2 as a module crashes at exit on property groups with methods.
    own = clip.holdfast
    if own.sensor == "CUSTOM":
        return own.sensor_mm
    if own.sensor == "CLIP":
        return clip.tracking.camera.sensor_width
    return next(width for key, _, width in SENSORS if key == own.sensor)


def ensure_uid(clip: bpy.types.MovieClip) -> str:
    """The clip's own id. A copy of a clip gets a new one, so that two clips never share a solve."""
    settings = clip.holdfast
    others = {other.holdfast.uid for other in bpy.data.movieclips if other != clip}
    if not settings.uid or (settings.uid in others and not settings.solved) or _is_copy(clip):
        before, settings.uid = settings.uid, uuid.uuid4().hex[:12]
        if before:
            _take_along(clip, before)
    return settings.uid


def _take_along(clip: bpy.types.MovieClip, before: str) -> None:
    """What was made for a clip that has a new id is marked anew, in the scenes matched to it (an appended file's, say)."""
    for scene in bpy.data.scenes:
        if scene.holdfast.clip != clip or scene.library:
            continue
        for item in (*scene.objects, *scene.collection.children_recursive):
            for key in ("holdfast_clip", "holdfast_rides"):
                if item.get(key) == before and not item.library:
                    item[key] = clip.holdfast.uid


def _is_copy(clip: bpy.types.MovieClip) -> bool:
    """True where another clip with the same id comes first by name: the copy is the one called "name.001"."""
    same = sorted(other.name for other in bpy.data.movieclips if other.holdfast.uid == clip.holdfast.uid and not other.library)
    return len(same) > 1 and same[0] != clip.name


def clip_of_context(context: bpy.types.Context) -> bpy.types.MovieClip | None:
    """The clip meant: the Clip editor's, else the scene's chosen one, else its active clip or its camera's background."""
    space = context.space_data
    if space is not None and space.type == "CLIP_EDITOR" and space.clip:
        return space.clip
    scene = context.scene
    if scene.holdfast.clip:
        return scene.holdfast.clip
    if scene.active_clip:
        return scene.active_clip
    if scene.camera and scene.camera.type == "CAMERA":
        for background in scene.camera.data.background_images:
            if background.clip:
                return background.clip
    # Whoever opened one clip in the Clip editor means that one in the viewport too.
    return bpy.data.movieclips[0] if len(bpy.data.movieclips) == 1 else None


def solver_settings(clip: bpy.types.MovieClip, preferences) -> dict:
    """The options of the solver's command line for a clip's settings (see `solver_process.command_line`)."""
    own = clip.holdfast
    out = {
        "focal": own.focal,
        "motion": own.motion,
        "distortion": own.distortion,
        "quality": own.quality,
        "seed": own.seed,
        "threads": preferences.threads or None,
        "device": preferences.device,
    }
    if own.focal_mm > 0:
        out["focal_mm"], out["sensor_mm"] = own.focal_mm, sensor_width_mm(clip)
    if own.depth == "none":
        out["depth_model"] = "none"
    elif own.depth == "model" and own.depth_model:
        path = bpy.path.abspath(own.depth_model)
        out["depth_model"] = path if own.depth_model.startswith("//") else own.depth_model
    elif own.depth == "maps" and own.depth_maps:
        out["depth_maps"] = bpy.path.abspath(own.depth_maps)
    if own.mask:
        out["mask"] = bpy.path.abspath(own.mask)
    if own.use_range:
        numbering = clip_frames.numbering_of(clip)
        out["start"], out["end"] = numbering.number_at(own.start), numbering.number_at(own.end)
    return out


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.MovieClip.holdfast = PointerProperty(type=HOLDFAST_ClipSettings)
    bpy.types.Scene.holdfast = PointerProperty(type=HOLDFAST_SceneSettings)


def unregister() -> None:
    del bpy.types.Scene.holdfast
    del bpy.types.MovieClip.holdfast
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
