"""The data that passes between stages: frozen dataclasses of arrays with documented shapes and units.

Conventions (all modules): OpenCV cameras (x right, y down, z forward). The image spans [0, W] x [0, H] and the centre
of the first pixel is (0.5, 0.5). Every transform is named by what it maps to and from (`cam_from_world`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np

# Labels of a track, as stored in tracks.npz.
LABEL_STATIC, LABEL_MOVER, LABEL_UNRELIABLE = 0, 1, 2
LABEL_NAMES = ("static", "mover", "unreliable")


@dataclass(frozen=True)
class Settings:
    """What the user asked for. None means "find out"."""

    focal_px: float | None = None  # at the clip's full resolution
    focal_source: str | None = None  # where focal_px comes from: "user", "metadata", "network"
    focal_mode: str = "auto"  # known | constant | varying | auto
    motion: str = "auto"  # auto | free | rotation | static
    distortion: str = "auto"  # none | radial1 | radial2 | auto
    rolling_shutter: str = "auto"  # off | auto | on
    steady: str = "auto"  # auto | off: the path as the frames alone give it
    quality: str = "standard"  # draft | standard | best
    seed: int = 0
    threads: int = 0  # 0: as many as the machine has
    start_by: str = "depth"  # depth | essential: of two frames, with no depth; for comparison
    depth_use: str = "all"  # all | start: not in the adjustment; for comparison

    def record(self) -> dict:
        """What a solve.json keeps of it: all that changes the result."""
        return {name: value for name, value in asdict(self).items() if name != "threads"}


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip before any frame is tracked."""

    path: str
    width: int  # px, as displayed (rotation metadata applied)
    height: int
    fps: float
    frame_start: int  # number of the clip's first image: 0 for movies, the file's own number for sequences
    frames: tuple[int, ...]  # numbers of the frames to solve, ascending, gaps left out
    missing: tuple[int, ...] = ()  # numbers of a sequence that have no file
    pixel_aspect: float = 1.0
    is_sequence: bool = False
    focal_px: float | None = None  # prior from metadata
    focal_source: str | None = None  # e.g. "EXIF 35 mm equivalent"
    frame_count: int = 0  # images in the whole clip, wanted or not
    step: int = 1  # every step-th frame was wanted
    rotation_deg: int = 0  # clockwise turn that the movie's metadata asks for; already applied to width, height and pictures


class ClipReader(Protocol):
    """A clip opened for reading."""

    info: ClipInfo

    def images(self):
        """Yield (frame number, (H, W, 3) uint8 BGR) in ascending order; decodes ahead in a thread."""

    def read(self, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR of one frame."""


class MaskReader(Protocol):
    """User masks: what must not be tracked."""

    def ignore(self, frame: int) -> np.ndarray | None:
        """(H, W) bool, True where tracks are not wanted; None where the frame has no mask."""


@dataclass(frozen=True)
class DepthMap:
    """What a depth network (or a brought-along map) says of one frame.

    kind: "disparity"  affine-invariant: 1/z = scale * values + shift
          "depth"      up to scale:      z = scale * values
          "metric"     metres:           z = values (scale 1 expected, still estimated)
    values (h, w) float32 at any resolution, spanning the whole image; NaN where nothing is known.
    confidence (h, w) float32 in 0..1, or None.
    """

    frame: int
    kind: str
    values: np.ndarray
    confidence: np.ndarray | None = None
    fov_x_deg: float | None = None  # horizontal field of view, from networks that give it


class DepthSource(Protocol):
    """A depth network or a folder of maps."""

    name: str  # e.g. "holdfast-small", "maps:/path"
    provider: str  # e.g. "CPUExecutionProvider", "files"
    kind: str

    def predict(self, frame: int, image: np.ndarray) -> DepthMap | None:
        """Depth of (H, W, 3) uint8 BGR; None where there is none for this frame. Safe to call from one worker thread."""


class Progress(Protocol):
    """Where stages say how far they are."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...

    def warn(self, code: str, message: str) -> None: ...


@dataclass(frozen=True)
class Tracks:
    """2-D tracks as flat observation lists, sorted by track, then by frame.

    xy is in px of the full resolution (first pixel's centre at 0.5). frame_index counts the solved frames from 0.
    """

    frame_numbers: np.ndarray  # (F,) int, the clip's own numbers
    track: np.ndarray  # (M,) int32, 0..N-1
    frame_index: np.ndarray  # (M,) int32, 0..F-1
    xy: np.ndarray  # (M, 2) float64, px
    sigma_px: np.ndarray  # (M,) float32, expected error of xy
    track_count: int
    elongation: np.ndarray | None = None  # (M, 2) float32, see elongation.py; None given: alike in all directions

    def __post_init__(self) -> None:
        if self.elongation is None:
            object.__setattr__(self, "elongation", np.zeros((len(self.track), 2), np.float32))

    def rows(self, keep: np.ndarray) -> Tracks:
        """The kept observations (M,) bool; numbers of tracks stay."""
        each = ("track", "frame_index", "xy", "sigma_px", "elongation")
        return replace(self, **{name: getattr(self, name)[keep] for name in each})


@dataclass(frozen=True)
class Camera:
    """The lens, one for the shot (focal lengths per frame stand in Solution)."""

    width: int
    height: int
    cx: float
    cy: float
    k1: float = 0.0  # x_d = x_u (1 + k1 r^2 + k2 r^4), in units of the focal length
    k2: float = 0.0
    row_time: float = 0.0  # rolling shutter: time from first to last row, in frames

    @property
    def distortion_model(self) -> str:
        """none | radial1 | radial2."""
        return "radial2" if self.k2 else ("radial1" if self.k1 else "none")


@dataclass(frozen=True)
class AlignedDepth:
    """Depth of a keyframe in the units of the solved scene."""

    frame: int
    depth: np.ndarray  # (h, w) float32 z-depth over the undistorted-ray grid of the whole image, scene units; NaN unknown
    confidence: np.ndarray | None
    scale: float
    shift: float
    spread: float  # robust spread of log(depth / solved depth) at the points
    network: np.ndarray | None = None  # what the network (or brought-along map) itself said, as in DepthMap
    kind: str = ""  # of `network`, as in DepthMap


@dataclass(frozen=True)
class Verdict:
    """In plain words: what the shot could tell and what it could not."""

    status: str  # "good" | "usable" | "weak" | "failed"
    summary: str  # one line for the panel
    motion: str  # "free" | "rotation" | "static"
    motion_observable: bool  # the direction of translation is determined
    focal: str  # "given" | "measured" | "weak" | "prior"
    focal_range_px: tuple[float, float]  # focal lengths that fit equally well
    distortion: str  # "none" | "measured" | "not determined"
    depth: str  # what the depth term did: "helped", "neutral", "none", ...
    error_px: float  # RMS reprojection error of tracks held out of the solve, px at full resolution
    statements: tuple[str, ...] = ()  # the whole reasoning, one sentence each
    chosen: tuple[dict, ...] = ()  # competing models: {"model", "held_out_px", "won", "why"}


@dataclass(frozen=True)
class Solution:
    """Everything a solve found."""

    clip: ClipInfo
    camera: Camera
    frame_numbers: np.ndarray  # (F,) int
    cam_from_world: np.ndarray  # (F, 4, 4)
    focal_px: np.ndarray  # (F,)
    frame_error_px: np.ndarray  # (F,) RMS over the frame's static observations
    frame_tracks: np.ndarray  # (F,) number of static tracks seen
    points: np.ndarray  # (P, 3) world
    point_track: np.ndarray  # (P,) which track each point belongs to
    point_colour: np.ndarray  # (P, 3) uint8 RGB
    point_error_px: np.ndarray  # (P,) RMS
    point_length: np.ndarray  # (P,) observations
    point_depth_sigma: np.ndarray  # (P,) relative standard deviation of the depth
    tracks: Tracks
    track_label: np.ndarray  # (N,) LABEL_*
    track_held_out: np.ndarray  # (N,) bool
    keyframes: tuple[int, ...]  # frame numbers
    depth_maps: tuple[AlignedDepth, ...]
    verdict: Verdict
    metric: bool = False  # scene units are metres (guessed from a metric network)
    quality: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    timings: dict = field(default_factory=dict)  # seconds by stage
    depth_source: dict = field(default_factory=dict)  # {"name", "provider", "kind", "licence"}
    settings: dict = field(default_factory=dict)  # what was asked for: the fields of Settings, without `threads`
    history: tuple[dict, ...] = ()  # what was done to the solve since: see refine.py
    world_id: str = ""  # names the world frame; "" is the solve's own. Solves of one id can be exchanged under a scene
    track_colour: np.ndarray | None = None  # (N, 3) uint8 RGB at first sight, of all tracks
    track_muted: np.ndarray | None = None  # (N,) bool: left out by the user; None is nobody
    user_tracks: tuple[dict, ...] = ()  # tracks made by the user: {"track", "name", "weight", "sigma_px", "error_px"}
