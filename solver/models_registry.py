"""Which depth networks are known, how each is fed and read, and where its files lie.

Everything that differs between networks is data (`models/registry.json`, or a sidecar beside a user's own file); this
module turns it into checked dataclasses. No network is run here.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .errors import EXIT_MODEL, HoldfastError

REGISTRY_PATH = Path(__file__).resolve().parent.parent / "models" / "registry.json"
MEANINGS = ("disparity", "depth", "metric", "log_depth", "inverse_depth", "points")
RESIZES = ("fixed", "short_side", "long_side", "area")
# What a DepthMap made from each meaning is called (types.DepthMap.kind).
KIND_OF_MEANING = {
    "disparity": "disparity",
    "depth": "depth",
    "metric": "metric",
    "log_depth": "depth",
    "inverse_depth": "depth",
    "points": "depth",
}


@dataclass(frozen=True)
class InputSpec:
    """How an image becomes the network's input.

    resize: "fixed" to `size` (w, h); "short_side" or "long_side" to that many px; "area" to about that many px in all. All but
    the first keep the aspect and round both sides to `multiple`. pad: keep the aspect in a "fixed" size with a
    border in `pad_value` (in 0..255).
    The value fed is (rgb / 255 * range - mean) / std.
    """

    name: str | None = None  # None: the graph's first input
    layout: str = "NCHW"  # NCHW | NHWC | NFCHW (views as second axis)
    channels: str = "RGB"  # RGB | BGR
    resize: str = "short_side"
    size: tuple[int, int] | None = None
    short_side: int | None = None
    long_side: int | None = None
    area: int | None = None
    multiple: int = 1
    pad: bool = False
    pad_value: tuple[float, float, float] = (0.0, 0.0, 0.0)
    range: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    constants: dict = field(default_factory=dict)  # further inputs by name: {"num_tokens": {"dtype": "int64", "value": 1800}}


@dataclass(frozen=True)
class OutputSpec:
    """What comes out: `depth` always, the others where the network has them. Each is {"name" | "index", ...}.

    "optional": true beside a name: some files of this network lack the output.
    """

    depth: dict
    meaning: str
    confidence: dict | None = None  # optional "offset" and "scale": confidence = clip((v - offset) * scale, 0, 1)
    mask: dict | None = None  # > 0.5 where the depth is valid
    metric_scale: dict | None = None  # one number the depth is multiplied by
    fov: dict | None = None  # {"unit": "degrees" | "radians" | "focal_px" | "intrinsics" (3 x 3)}


@dataclass(frozen=True)
class NetworkFile:
    """One file of a network; the first one of a network is the graph, the others lie beside it. A name may have a folder."""

    name: str
    url: str | None = None
    size: int | None = None  # bytes
    sha256: str | None = None  # None: not known; pinned at the first download the user confirms
    embedded: bool = False


@dataclass(frozen=True)
class NetworkSpec:
    """A registry entry."""

    id: str
    title: str
    licence: str
    commercial_use: bool | None  # None: not known
    files: tuple[NetworkFile, ...]
    input: InputSpec
    output: OutputSpec
    source: str = ""
    note: str = ""

    @property
    def kind(self) -> str:
        """disparity | depth | metric, as in types.DepthMap."""
        kind = KIND_OF_MEANING[self.output.meaning]
        return "metric" if kind == "depth" and self.output.metric_scale else kind


def _bad(where: str, what: str) -> HoldfastError:
    return HoldfastError(
        "model.bad_description",
        f"{where}: {what}",
        "See models/README.md, 'Describing a network', for the fields and their values.",
        EXIT_MODEL,
    )


def spec_from_dict(entry: dict, where: str) -> NetworkSpec:
    """A checked NetworkSpec from a registry entry or a sidecar. Raises HoldfastError naming the wrong field."""
    try:
        inputs = dict(entry["input"])
        outputs = dict(entry["outputs"])
        depth = dict(outputs["depth"])
        meaning = depth["meaning"]
    except (KeyError, TypeError, ValueError) as error:
        raise _bad(where, f"needs input, outputs.depth and outputs.depth.meaning (missing: {error})") from None
    for key in ("size", "mean", "std", "pad_value"):
        if inputs.get(key) is not None:
            inputs[key] = tuple(inputs[key])
    unknown = set(inputs) - set(InputSpec.__dataclass_fields__)
    if unknown:
        raise _bad(where, f"unknown input field {min(unknown)}")
    spec = InputSpec(**inputs)
    if meaning not in MEANINGS:
        raise _bad(where, f"outputs.depth.meaning is {meaning!r}, must be one of {', '.join(MEANINGS)}")
    if spec.resize not in RESIZES:
        raise _bad(where, f"input.resize is {spec.resize!r}, must be one of {', '.join(RESIZES)}")
    needed = getattr(spec, "size" if spec.resize == "fixed" else spec.resize)
    if not needed or (spec.resize == "fixed" and len(spec.size) != 2):
        raise _bad(where, f"input.resize {spec.resize!r} needs {'size [w, h]' if spec.resize == 'fixed' else spec.resize}")
    if spec.layout not in ("NCHW", "NHWC", "NFCHW") or spec.channels not in ("RGB", "BGR"):
        raise _bad(where, "input.layout must be NCHW, NHWC or NFCHW and input.channels RGB or BGR")
    if len(spec.mean) != 3 or len(spec.std) != 3 or min(spec.std) <= 0:
        raise _bad(where, "input.mean and input.std need three numbers each, std above 0")
    files = tuple(NetworkFile(**{k: f[k] for k in NetworkFile.__dataclass_fields__ if k in f}) for f in entry.get("files", ()))
    return NetworkSpec(
        id=entry.get("id", where),
        title=entry.get("title", entry.get("id", where)),
        licence=entry.get("licence", "unknown"),
        commercial_use=entry.get("commercial_use"),
        files=files,
        input=spec,
        output=OutputSpec(
            depth=depth,
            meaning=meaning,
            confidence=outputs.get("confidence"),
            mask=outputs.get("mask"),
            metric_scale=outputs.get("metric_scale"),
            fov=outputs.get("fov"),
        ),
        source=entry.get("source", ""),
        note=entry.get("note", ""),
    )


def load_registry(path: Path = REGISTRY_PATH) -> tuple[dict[str, NetworkSpec], str]:
    """({id: spec} in the file's order, id of the default network)."""
    data = json.loads(path.read_text(encoding="utf-8"))
    specs = {entry["id"]: spec_from_dict(entry, entry["id"]) for entry in data["networks"]}
    return specs, data["default"]


def models_folder() -> Path:
    """Where downloaded networks lie: $HOLDFAST_MODELS, else the platform's folder for a user's application data."""
    if os.environ.get("HOLDFAST_MODELS"):
        return Path(os.environ["HOLDFAST_MODELS"])
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "Holdfast" / "models"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "Holdfast" / "models"
    return Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share")) / "holdfast" / "models"


def find_network(spec: NetworkSpec) -> Path | None:
    """The graph file of a network if all its files are here (embedded or downloaded), else None."""
    for folder in (REGISTRY_PATH.parent, models_folder()):
        if spec.files and all((folder / f.name).is_file() for f in spec.files):
            return folder / spec.files[0].name
    return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sidecar_of(path: Path) -> Path | None:
    """The description beside a user's own network: NAME.onnx.json or NAME.json."""
    for candidate in (path.with_name(path.name + ".json"), path.with_suffix(".json")):
        if candidate.is_file():
            return candidate
    return None


def recognise(path: Path, specs: dict[str, NetworkSpec]) -> NetworkSpec | None:
    """The registry entry a file is, by its sidecar first, then its content, then its name; None when it is none of them."""
    sidecar = sidecar_of(path)
    if sidecar is not None:
        try:
            entry = json.loads(sidecar.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise _bad(str(sidecar), f"is not readable JSON ({error})") from None
        if not isinstance(entry, dict):
            raise _bad(str(sidecar), "must hold one JSON object")
        return spec_from_dict({"id": path.stem, "files": [{"name": path.name}], **entry}, str(sidecar))
    size = path.stat().st_size
    for spec in specs.values():
        graph = spec.files[0]
        if graph.sha256 and graph.size == size and sha256_of(path) == graph.sha256:
            return spec
    whole = f"/{path.resolve().as_posix()}"  # networks of several files have a folder of their own: NAME/model.onnx
    return next((spec for spec in specs.values() if whole.endswith(f"/{spec.files[0].name}")), None)


def resolve_network(model: str | None) -> tuple[NetworkSpec, Path]:
    """The description and graph file of a registry id or of a path to an .onnx file; None means the default network.

    Raises HoldfastError: unknown id, network not downloaded, file missing, file that nothing describes.
    """
    specs, default = load_registry()
    model = model or default
    if model in specs:
        spec = specs[model]
        path = find_network(spec)
        if path is None:
            if spec.files[0].embedded:
                hint = "Reinstall Holdfast, or run with --depth-model none."
            elif spec.files[0].url:
                hint = f"Run: python -m solver models get {spec.id}  (or place {spec.files[0].name} in {models_folder()})."
            else:
                hint = f"Place {spec.files[0].name} in {models_folder()} or give its path; source: {spec.source}."
            raise HoldfastError("model.missing", f"The depth network {spec.id} is not here.", hint, EXIT_MODEL)
        return spec, path
    path = Path(model).expanduser()
    looks_like_path = path.suffix.lower() == ".onnx" or path.exists() or os.sep in model
    if not looks_like_path:
        raise HoldfastError(
            "model.unknown",
            f"No depth network is called {model!r}.",
            f"Known: none, {', '.join(specs)}; or give the path of an .onnx file.",
            EXIT_MODEL,
        )
    if not path.is_file():
        raise HoldfastError(
            "model.missing",
            f"There is no depth network file {path}.",
            f"Check the path, or use one of: none, {', '.join(specs)}.",
            EXIT_MODEL,
        )
    spec = recognise(path, specs)
    if spec is None:
        raise HoldfastError(
            "model.undescribed",
            f"{path.name} is not a network Holdfast knows, so it cannot tell how to feed it.",
            f"Run: python -m solver models add {path}  - or write {path.name}.json with input (size, range, mean, std) and "
            "outputs.depth.meaning.",
            EXIT_MODEL,
        )
    return spec, path
