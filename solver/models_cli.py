"""`python -m solver models list | get ID | add FILE | remove ID`: the depth networks on this machine."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from .errors import EXIT_MODEL, EXIT_OK, EXIT_USAGE, HoldfastError
from .models_registry import MEANINGS, NetworkSpec, find_network, load_registry, models_folder, recognise, spec_from_dict


def add_models_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the `models` command; sets `run` to a function of (options, reporter, log) that returns the exit code."""
    parser = commands.add_parser(
        "models", help="list, fetch and add depth networks", description="The depth networks on this machine."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(run=run_models, action="list", events=False, json=False)
    listing = actions.add_parser("list", help="which networks there are (default)")
    listing.add_argument("--json", "--events", dest="json", action="store_true", help="as one JSON object")
    get = actions.add_parser("get", help="download a network")
    get.add_argument("id", metavar="ID", help="see: models list")
    get.add_argument(
        "--mirror", metavar="URL", default=os.environ.get("HOLDFAST_MIRROR"), help="fetch the files from this address instead"
    )
    get.add_argument(
        "--accept-hash",
        metavar="SHA256",
        action="append",
        default=[],
        help="trust a file with this SHA-256 where the registry knows none; asked for at a terminal otherwise",
    )
    get.add_argument("--events", action="store_true", help="say progress as JSON")
    add = actions.add_parser("add", help="add an .onnx file of your own, or one fetched by hand")
    add.add_argument("file", metavar="FILE")
    add.add_argument("--events", action="store_true", help="never ask; say the result as JSON")
    add.add_argument("--meaning", choices=MEANINGS, help="what its output is")
    add.add_argument("--size", metavar="WxH", help="fixed input size, e.g. 256x256")
    add.add_argument("--short-side", metavar="PX", type=int, help="short side of its input, where any size is taken")
    add.add_argument("--multiple", metavar="PX", type=int, help="the input's sides are multiples of this")
    add.add_argument("--normalise", choices=sorted(NORMALISATIONS), help="how pixel values are fed")
    add.add_argument("--channels", choices=("RGB", "BGR"), help="order of the colours")
    add.add_argument("--output", metavar="NAME", help="which output is the depth")
    remove = actions.add_parser("remove", help="delete a downloaded network")
    remove.add_argument("id", metavar="ID")


NORMALISATIONS = {
    "imagenet": {"range": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "half": {"range": 1.0, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "unit": {"range": 1.0, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
    "255": {"range": 255.0, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
}


def run_models(options: argparse.Namespace, reporter=None, log=None) -> int:
    """Runs the action asked for; returns the exit code. Raises HoldfastError."""
    return {"list": _list, "get": _get, "add": _add, "remove": _remove}[options.action or "list"](options, reporter)


def describe(spec: NetworkSpec) -> dict:
    """What a listing says of a network."""
    path = find_network(spec)
    sizes = [f.size for f in spec.files]
    return {
        "id": spec.id,
        "title": spec.title,
        "licence": spec.licence,
        "commercial_use": spec.commercial_use,
        "kind": spec.kind,
        "embedded": any(f.embedded for f in spec.files),
        "installed": path is not None,
        "path": str(path) if path else None,
        "bytes": sum(s or 0 for s in sizes) if any(sizes) else None,
        "downloadable": all(f.url for f in spec.files),
        "hash_known": all(f.sha256 for f in spec.files),
        "gives_fov": bool(spec.output.fov or spec.output.depth.get("shift_unknown")),
        "source": spec.source,
        "note": spec.note,
    }


def user_networks(folder: Path | None = None) -> list[NetworkSpec]:
    """Networks the user added: .onnx files with a description beside them in the models folder."""
    found = []
    folder = folder or models_folder()
    for path in sorted(folder.glob("*.onnx.json")) if folder.is_dir() else ():
        if path.with_suffix("").is_file():
            entry = json.loads(path.read_text(encoding="utf-8"))
            name = path.name.removesuffix(".onnx.json")
            found.append(spec_from_dict({"id": name, "files": [{"name": f"{name}.onnx"}], **entry}, str(path)))
    return found


def _list(options: argparse.Namespace, reporter) -> int:
    specs, default = load_registry()
    entries = [describe(s) for s in specs.values()] + [describe(s) for s in user_networks()]
    if options.json:
        print(json.dumps({"event": "models", "default": default, "folder": str(models_folder()), "models": entries}))
        return EXIT_OK
    for entry in entries:
        state = (
            "embedded" if entry["embedded"] else "here" if entry["installed"] else "get" if entry["downloadable"] else "by hand"
        )
        use = {True: "commercial use", False: "no commercial use", None: "use: see licence"}[entry["commercial_use"]]
        size = f"{entry['bytes'] / 1e6:.0f} MB" if entry["bytes"] else ""
        print(
            f"{entry['id'] + (' *' if entry['id'] == default else ''):26s} {state:9s} {size:>8s}  "
            f"{entry['title']} ({entry['licence']}, {use})"
        )
    print(f"* default. Downloads lie in {models_folder()}; fetch one with: python -m solver models get ID")
    return EXIT_OK


def _known(identifier: str) -> NetworkSpec:
    specs, _ = load_registry()
    if identifier not in specs:
        raise HoldfastError(
            "model.unknown", f"No depth network is called {identifier!r}.", f"Known: {', '.join(specs)}.", EXIT_USAGE
        )
    return specs[identifier]


def _get(options: argparse.Namespace, reporter) -> int:
    from .lifetime import install_signal_handlers, watch_parent
    from .models_download import fetch_network

    spec = _known(options.id)
    here = find_network(spec)
    if here is not None:
        print(
            json.dumps({"event": "result", "id": spec.id, "path": str(here)})
            if options.events
            else f"{spec.id} is here already: {here}"
        )
        return EXIT_OK
    if spec.files[0].embedded:
        raise HoldfastError("model.missing", f"{spec.id} ships with Holdfast and is missing.", "Reinstall Holdfast.", EXIT_MODEL)
    if spec.commercial_use is False and not options.events:
        print(f"Note: {spec.title} may not be used commercially (licence: {spec.licence}).")
    if options.events:  # a program started it, and it must not outlive that
        install_signal_handlers()
        watch_parent()
    accepted = {h.lower() for h in options.accept_hash}

    def confirm(name: str, sha256: str) -> bool:
        if sha256 in accepted:
            return True
        if options.events or not sys.stdin.isatty():
            return False
        print(f"\nNo hash is on record for {name}. It came with SHA-256 {sha256}.")
        return input("Trust it and remember this hash? [y/N] ").strip().lower() in ("y", "yes")

    last = [""]

    def report(name: str, here: int, total: int) -> None:
        if options.events:
            step = str(here // (1 << 20))
            if step != last[0] or here == total:
                last[0] = step
                print(
                    json.dumps({"event": "progress", "stage": "download", "file": name, "done": here, "total": total}), flush=True
                )
            return
        text = f"{name}: {here / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{name}: {here / 1e6:.1f} MB"
        if text != last[0]:
            last[0] = text
            print("\r" + text, end="", flush=True)

    path = fetch_network(spec, models_folder(), mirror=options.mirror, confirm=confirm, report=report)
    print(
        json.dumps({"event": "result", "id": spec.id, "path": str(path)}) if options.events else f"\n{spec.id} is ready: {path}"
    )
    return EXIT_OK


def _read_graph(path: Path) -> dict:
    """Inputs and outputs of an .onnx file as ONNX Runtime sees them. Raises HoldfastError when it is none."""
    from .depth_network import _import_onnxruntime

    ort = _import_onnxruntime()
    try:
        session_options = ort.SessionOptions()
        session_options.log_severity_level = 4
        session = ort.InferenceSession(str(path), session_options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001  ONNX Runtime's own exceptions share no useful base class
        raise HoldfastError(
            "model.not_onnx",
            f"{path.name} is not an ONNX file ONNX Runtime can read.",
            "Give a complete .onnx file (with its .onnx_data beside it, if it has one).",
            EXIT_MODEL,
        ) from None
    return {
        "inputs": [(i.name, list(i.shape), i.type) for i in session.get_inputs()],
        "outputs": [(o.name, list(o.shape), o.type) for o in session.get_outputs()],
    }


def draft_description(graph: dict) -> tuple[dict, list[str]]:
    """(as much of a description as the graph itself tells, the names of what must be asked): input size, layout, output."""
    pictures = [i for i in graph["inputs"] if len(i[1]) == 4 or (len(i[1]) == 5 and i[1][2] == 3)]
    if not pictures:
        raise HoldfastError(
            "model.wrong_interface",
            "The network takes no picture (an input with four axes, or five where the second counts views).",
            "Only single-image depth networks can be used.",
            EXIT_MODEL,
        )
    name, shape, _ = pictures[0]
    layout = "NFCHW" if len(shape) == 5 else "NHWC" if shape[3] == 3 and shape[1] != 3 else "NCHW"
    height, width = (shape[1], shape[2]) if layout == "NHWC" else (shape[-2], shape[-1])
    description: dict = {"input": {"name": name, "layout": layout}, "outputs": {"depth": {}}}
    ask = ["meaning", "normalise", "channels"]
    if isinstance(height, int) and isinstance(width, int):
        description["input"].update(resize="fixed", size=[width, height])
    else:
        ask += ["short_side", "multiple"]
    if len(graph["outputs"]) == 1:
        description["outputs"]["depth"]["name"] = graph["outputs"][0][0]
    else:
        ask.append("output")
    return description, ask


QUESTIONS = {
    "meaning": ("What is its output", MEANINGS, "disparity"),
    "normalise": (
        "How are pixel values fed (255: 0..255, unit: 0..1, half: -1..1, imagenet: ImageNet's mean and deviation)",
        tuple(NORMALISATIONS),
        "imagenet",
    ),
    "channels": ("Order of the colours", ("RGB", "BGR"), "RGB"),
    "short_side": ("Short side of its input, px", None, "384"),
    "multiple": ("Sides are multiples of, px", None, "32"),
    "output": ("Which output is the depth", None, None),
}


def _answers(options: argparse.Namespace, ask: list[str], outputs: list[str]) -> dict:
    answers = {key: getattr(options, key) for key in ask if getattr(options, key) is not None}
    open_questions = [key for key in ask if key not in answers]
    if open_questions and (options.events or not sys.stdin.isatty()):
        flags = " ".join("--" + key.replace("_", "-") for key in open_questions)
        raise HoldfastError(
            "model.undescribed",
            f"The file does not say everything about itself; missing: {flags}.",
            f"Give them, e.g. --meaning disparity --normalise imagenet. Its outputs: {', '.join(outputs)}.",
            EXIT_USAGE,
        )
    for key in open_questions:
        question, choices, default = QUESTIONS[key]
        choices = tuple(outputs) if key == "output" else choices
        while key not in answers:
            shown = f" ({', '.join(choices)})" if choices else ""
            said = input(f"{question}{shown} [{default or outputs[0]}]: ").strip() or default or outputs[0]
            if (choices and said in choices) or (choices is None and said.isdigit() and int(said) > 0):
                answers[key] = said
    return answers


def _add(options: argparse.Namespace, reporter) -> int:
    source = Path(options.file).expanduser()
    if not source.is_file():
        raise HoldfastError("model.missing", f"There is no file {source}.", "Check the path.", EXIT_MODEL)
    specs, _ = load_registry()
    folder = models_folder()
    graph = _read_graph(source)
    spec = recognise(source, specs)
    sidecar = None
    if spec is not None and spec.id in specs:
        target = folder / spec.files[0].name
    else:
        target = folder / source.name
        if spec is None:
            description, ask = draft_description(graph)
            answers = _answers(options, ask, [o[0] for o in graph["outputs"]])
            description["outputs"]["depth"]["meaning"] = answers["meaning"]
            description["input"].update(NORMALISATIONS[answers["normalise"]], channels=answers["channels"])
            if "output" in answers:
                description["outputs"]["depth"]["name"] = answers["output"]
            if options.size:
                width, _, height = options.size.partition("x")
                if not (width.isdigit() and height.isdigit()):
                    raise HoldfastError("usage.options", f"--size {options.size} is no size.", "Write it as 256x256.", EXIT_USAGE)
                description["input"].update(resize="fixed", size=[int(width), int(height)])
            elif "short_side" in answers:
                description["input"].update(
                    resize="short_side", short_side=int(answers["short_side"]), multiple=int(answers["multiple"])
                )
            spec_from_dict(description, source.name)
            sidecar = description
        else:
            from .models_registry import sidecar_of

            sidecar = json.loads(sidecar_of(source).read_text(encoding="utf-8"))
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.resolve() != target.resolve():
        partial = target.with_name(target.name + ".part")
        shutil.copyfile(source, partial)
        partial.replace(target)
    for extra in (f.name for f in spec.files[1:]) if spec is not None else ():
        beside = source.parent / Path(extra).name
        if beside.is_file() and not (folder / extra).is_file():
            shutil.copyfile(beside, folder / extra)
    if sidecar is not None:
        (folder / (target.name + ".json")).write_text(json.dumps(sidecar, indent=1) + "\n", encoding="utf-8")
    use = spec.id if spec is not None and spec.id in specs else str(target)
    print(
        json.dumps({"event": "result", "id": use, "path": str(target)})
        if options.events
        else f"Added. Use it with: --depth-model {use}"
    )
    return EXIT_OK


def _remove(options: argparse.Namespace, reporter) -> int:
    spec, folder = _known(options.id), models_folder()
    gone = [f.name for f in spec.files if (folder / f.name).is_file()]
    for name in gone:
        (folder / name).unlink()
    print(f"Removed {', '.join(gone)}." if gone else f"{spec.id} has not been downloaded.")
    return EXIT_OK
