# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth networks in the preferences: which there are, under what terms, and fetching one when asked to.

The solver's own command does the work (`python -m solver models …`); here is only the asking, and only with Blender's online
access allowed. A file that no one has vouched for is kept aside until the user has seen its hash and trusts it.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from . import compat, job, preferences, solver_process

_TICK_S = 0.2
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_USE = {True: "commercial use", False: "no commercial use", None: "see its licence before commercial use"}


class Download(job.SolverJob):
    """`models get` as a job: it ends well without a solve."""

    def __init__(self, identifier: str, command: list[str], env: dict[str, str]) -> None:
        super().__init__(command, ".", env)
        self.identifier = identifier

    def _conclude(self, code: int) -> None:
        if code == 0 and self._error_event is None and self.state is not job.JobState.CANCELLING:
            self.exit_code, self.fraction = code, 1.0
            self._finish(job.JobState.DONE, "", f"{self.identifier} is ready", "")
            return
        super()._conclude(code)

    @property
    def unknown_hash(self) -> str:
        """The SHA-256 of a file that came but that no one has vouched for yet; empty otherwise."""
        found = _SHA256.search(self.message) if self.code == "download.unconfirmed" else None
        return found.group() if found else ""

    @property
    def words(self) -> str:
        """Progress in words."""
        if self.total:
            return f"{self.identifier}: {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        return f"{self.identifier}: {self.done / 1e6:.0f} MB" if self.done else f"{self.identifier} …"


class _State:
    """What the preferences show."""

    def __init__(self) -> None:
        self.entries: list[dict] = []
        self.problem = ""
        self.folder = ""
        self.asking: threading.Thread | None = None
        self.download: Download | None = None


_state = _State()


def _command(*arguments: str) -> tuple[list[str], dict[str, str]]:
    """(command line, environment) of `python -m solver models`. Raises FileNotFoundError without a Python."""
    python = solver_process.find_python(preferences.get().python)
    return [python, "-m", "solver", "models", *arguments], solver_process.environment(python)


def refresh(wait: bool = False) -> None:
    """Ask the solver which networks there are, in a thread."""
    if _state.asking is not None and _state.asking.is_alive():
        return
    try:
        command, env = _command("list", "--json")
    except FileNotFoundError as error:
        _state.problem = str(error)
        return

    def ask() -> None:
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
            listed = json.loads(done.stdout.splitlines()[-1])
            _state.entries, _state.folder, _state.problem = listed["models"], listed["folder"], ""
        except (OSError, ValueError, KeyError, IndexError, subprocess.SubprocessError) as error:
            _state.problem = f"The solver cannot be asked for its networks ({type(error).__name__})"

    _state.asking = threading.Thread(target=ask, name="holdfast-networks", daemon=True)
    _state.asking.start()
    if wait:
        _state.asking.join()


def _tick() -> float | None:
    """Timer: follow the download, draw again what shows it."""
    download = _state.download
    if download is None:
        return None
    if download.poll():
        for window in bpy.context.window_manager.windows:
            for area in window.screen.areas:
                if area.type == "PREFERENCES":
                    area.tag_redraw()
    if download.state.active:
        return _TICK_S
    refresh()
    return None


def _start(operator: bpy.types.Operator, name: str, arguments: list[str]) -> set[str]:
    """Run a `models` command as the one job the preferences show; in the background wait for it."""
    try:
        command, env = _command(*arguments)
    except FileNotFoundError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    _state.download = Download(name, command, env)
    _state.download.start()
    if bpy.app.background:  # no timers there
        _state.download.wait()
        refresh(wait=True)
        if _state.download.state is not job.JobState.DONE:
            operator.report({"ERROR"}, f"{_state.download.message} {_state.download.hint}".strip())
            return {"CANCELLED"}
    elif not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_TICK_S, persistent=True)
    return {"FINISHED"}


class HOLDFAST_OT_network_get(bpy.types.Operator):
    """Fetch this depth network to this machine. Goes on where an earlier try broke off"""

    bl_idname = "holdfast.network_get"
    bl_label = "Download Depth Network"
    bl_options = {"INTERNAL"}

    identifier: StringProperty(name="Network", description="Name of the network, as listed", options={"SKIP_SAVE"})
    sha256: StringProperty(
        name="SHA-256", description="Hash of the file that came, where the user trusts it", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set("Allow Online Access in Preferences > System > Network first")
            return False
        if _state.download is not None and _state.download.state.active:
            cls.poll_message_set("Another network is being downloaded")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        arguments = ["get", self.identifier, "--events"]
        mirror = preferences.get(context).mirror
        if mirror:
            arguments.append(f"--mirror={mirror}")
        if self.sha256:
            arguments.append(f"--accept-hash={self.sha256}")
        return _start(self, self.identifier, arguments)


class HOLDFAST_OT_network_cancel(bpy.types.Operator):
    """Stop the download. What has come is kept, and the next try goes on from there"""

    bl_idname = "holdfast.network_cancel"
    bl_label = "Cancel Download"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if _state.download is not None:
            _state.download.cancel()
        return {"FINISHED"}


class HOLDFAST_OT_network_add(bpy.types.Operator):
    """Use an ONNX depth network of your own, or one fetched by hand. A known file needs no answers; of another one the size
    and the names are read from the file, and the rest is asked here"""

    bl_idname = "holdfast.network_add"
    bl_label = "Add Network File"
    bl_options = {"INTERNAL"}

    filepath: StringProperty(subtype="FILE_PATH", description="The ONNX file")
    filter_glob: StringProperty(default="*.onnx", options={"HIDDEN"}, description="Files shown")
    meaning: EnumProperty(
        name="Output Is",
        items=(
            ("disparity", "Disparity", "Large is near, up to scale and shift: MiDaS, Depth Anything V1 and V2"),
            ("depth", "Depth", "Large is far, up to scale"),
            ("metric", "Depth in Metres", "Large is far, in metres"),
            ("log_depth", "Log Depth", "The logarithm of depth"),
            ("inverse_depth", "Inverse Depth", "One over depth, up to scale alone"),
        ),
        description="What the network's output stands for",
    )
    normalise: EnumProperty(
        name="Fed With",
        items=(
            ("imagenet", "ImageNet", "0 to 1, then ImageNet's mean and deviation"),
            ("half", "-1 to 1", "0 to 1, then mean and deviation of one half"),
            ("unit", "0 to 1", "Pixel values as fractions"),
            ("255", "0 to 255", "Pixel values as they are"),
        ),
        description="How pixel values are fed",
    )
    channels: EnumProperty(
        name="Colours",
        items=(("RGB", "RGB", "Red first"), ("BGR", "BGR", "Blue first, as OpenCV reads pictures")),
        description="Order of the colours",
    )
    short_side: IntProperty(
        name="Short Side", default=384, min=32, max=4096, description="Of its input in px, where any size is taken"
    )
    multiple: IntProperty(name="Multiple Of", default=32, min=1, max=256, description="What the input's sides are multiples of")
    output: StringProperty(name="Output", description="Name of the output that is the depth, where there are several")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if _state.download is not None and _state.download.state.active:
            self.report({"ERROR"}, "Another network is being fetched")
            return {"CANCELLED"}
        path = bpy.path.abspath(self.filepath)
        arguments = ["add", path, "--events", f"--meaning={self.meaning}", f"--normalise={self.normalise}"]
        arguments += [f"--channels={self.channels}", f"--short-side={self.short_side}", f"--multiple={self.multiple}"]
        if self.output:
            arguments.append(f"--output={self.output}")
        return _start(self, bpy.path.basename(path), arguments)


class HOLDFAST_OT_networks_refresh(bpy.types.Operator):
    """Look again which depth networks are on this machine, files placed by hand included"""

    bl_idname = "holdfast.networks_refresh"
    bl_label = "Look Again"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        refresh(wait=bpy.app.background)
        return {"FINISHED"}


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The list, the terms, the buttons and the running download."""
    if not _state.entries and not _state.problem:
        refresh()
    row = layout.row()
    row.label(text="Depth Networks")
    row.operator("holdfast.network_add", icon="FILEBROWSER")
    row.operator("holdfast.networks_refresh", text="", icon="FILE_REFRESH")
    if _state.problem:
        layout.label(text=_state.problem, icon="ERROR")
    _draw_download(layout)
    column = layout.column(align=True)
    for entry in _state.entries:
        row = column.row()
        row.label(text=entry["title"], icon="CHECKMARK" if entry["installed"] else "BLANK1")
        terms = row.row()
        terms.alert = entry["commercial_use"] is not True
        terms.label(text=f"{entry['licence']}, {_USE[entry['commercial_use']]}")
        size = f"{entry['bytes'] / 1e6:.0f} MB" if entry.get("bytes") else "Download"
        if entry["installed"]:
            row.label(text="Comes with Holdfast" if entry["embedded"] else "On this machine")
        elif entry["downloadable"] or preferences.get(context).mirror:
            row.operator("holdfast.network_get", text=size, icon="IMPORT").identifier = entry["id"]
        else:
            row.label(text="Place by hand")
    if not bpy.app.online_access:
        layout.label(text="Downloads need Online Access (Preferences > System > Network)", icon="INTERNET_OFFLINE")
    if _state.folder:
        layout.label(text=f"Files placed by hand belong into {_state.folder}")


def _draw_download(layout: bpy.types.UILayout) -> None:
    download = _state.download
    if download is None:
        return
    if download.state.active:
        row = layout.row()
        if compat.can_progress_bar(row) and download.total:
            row.progress(factor=min(download.done / download.total, 1.0), text=download.words)
        else:
            row.label(text=download.words)
        row.operator("holdfast.network_cancel", text="", icon="CANCEL")
    elif download.unknown_hash:
        box = layout.box()
        box.label(text=f"{download.identifier} has come, but no hash is on record for it. Its SHA-256 is", icon="QUESTION")
        box.label(text=download.unknown_hash)
        button = box.operator("holdfast.network_get", text="I Trust Its Source: Remember This Hash", icon="CHECKMARK")
        button.identifier, button.sha256 = download.identifier, download.unknown_hash
    elif download.state is job.JobState.FAILED:
        box = layout.box()
        box.alert = True
        box.label(text=download.message, icon="CANCEL")
        if download.hint:
            box.label(text=download.hint)


_CLASSES = (HOLDFAST_OT_network_get, HOLDFAST_OT_network_cancel, HOLDFAST_OT_network_add, HOLDFAST_OT_networks_refresh)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _state.download is not None:
        _state.download.kill()
    _state.__init__()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
