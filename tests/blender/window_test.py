#!/usr/bin/env python3
"""The artist's way in a real Blender with a window: install the zip, open a clip, press the button, watch, drop props, cancel.

usage: window_test.py [--zip ZIP] [--clip CLIP] [--out DIR] [--depth-model ID_OR_FILE]

Needs blender (or HOLDFAST_BLENDER), Xvfb and xdotool; pictures also need xwd and convert. Without them it says so and ends well.
Runs on any Python 3.11 with nothing but the standard library, outside of Blender. Every step leaves a picture in DIR.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 1600, 1000

# Runs inside Blender: executes snippets that appear as files, and watches how long the main thread is held up.
DRIVER = """
import bpy, contextlib, io, os, sys, time, traceback
FOLDER = os.environ["HOLDFAST_TEST_FOLDER"]
state = {"last": time.monotonic(), "longest": 0.0}
bpy.context.preferences.view.show_splash = False

def addon(name):
    return sys.modules["bl_ext.user_default.holdfast.addon." + name]

def watch():
    now = time.monotonic()
    state["longest"] = max(state["longest"], now - state["last"])
    state["last"] = now
    return 0.01

def listen():
    for name in sorted(os.listdir(FOLDER)):
        if name.endswith(".py"):
            path = os.path.join(FOLDER, name)
            with open(path) as file:
                source = file.read()
            os.remove(path)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                try:
                    names = {"bpy": bpy, "addon": addon, "state": state, "time": time, "contextlib": contextlib}
                    exec(compile(source, name, "exec"), names)
                except Exception:
                    print("FAILED " + traceback.format_exc())
            with open(path + ".tmp", "w") as file:
                file.write(out.getvalue())
            os.rename(path + ".tmp", path + ".out")
    return 0.05

bpy.app.timers.register(watch, persistent=True)
bpy.app.timers.register(listen, first_interval=0.5, persistent=True)
"""


class Failed(Exception):
    """A step did not do what it must."""


class Window:
    """A Blender under a virtual screen of its own."""

    def __init__(self, blender: str, work: Path, out: Path) -> None:
        self.work, self.out, self.count = work, out, 0
        self.button_below = 46
        self.display = next(n for n in range(81, 200) if not Path(f"/tmp/.X11-unix/X{n}").exists())
        self.env = dict(
            os.environ,
            DISPLAY=f":{self.display}",
            LIBGL_ALWAYS_SOFTWARE="1",
            GALLIUM_DRIVER="llvmpipe",
            HOLDFAST_TEST_FOLDER=str(work / "talk"),
            BLENDER_USER_RESOURCES=str(work / "user"),
        )
        (work / "talk").mkdir()
        (work / "driver.py").write_text(DRIVER)
        self.processes: list[subprocess.Popen] = []
        self._start(["Xvfb", self.env["DISPLAY"], "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "+extension", "GLX", "-noreset"])
        time.sleep(1.5)
        geometry = ["--window-geometry", "0", "0", str(WIDTH), str(HEIGHT)]
        self._start([blender, *geometry, "--gpu-backend", "opengl", "--python", str(work / "driver.py")])

    def _start(self, command: list[str]) -> None:
        log = (self.work / f"{Path(command[0]).name}.log").open("w")
        self.processes.append(subprocess.Popen(command, env=self.env, stdout=log, stderr=subprocess.STDOUT))

    def do(self, source: str, limit_s: float = 60.0) -> str:
        """Run a snippet inside Blender; what it prints comes back."""
        self.count += 1
        path = self.work / "talk" / f"{self.count:04d}.py"
        path.with_suffix(".tmp").write_text(source)
        path.with_suffix(".tmp").rename(path)
        answer = path.with_name(path.name + ".out")
        end = time.monotonic() + limit_s
        while not answer.exists():
            if self.processes[-1].poll() is not None:
                raise Failed(f"Blender ended with {self.processes[-1].returncode}; see {self.work}/blender.log")
            if time.monotonic() > end:
                raise Failed(f"Blender did not answer within {limit_s:.0f} s")
            time.sleep(0.02)
        text = answer.read_text().strip()
        if "FAILED" in text:
            raise Failed(text)
        return text

    def ask(self, expression: str):
        """A value from inside Blender."""
        return json.loads(self.do(f"import json; print(json.dumps({expression}))"))

    def click(self, x: float, y: float) -> None:
        """A real press of the left button at a place of the screen, from the top left."""
        moves = [
            "mousemove",
            str(int(x) - 4),
            str(int(y)),
            "sleep",
            "0.1",
            "mousemove",
            str(int(x)),
            str(int(y)),
            "sleep",
            "0.15",
        ]
        subprocess.run(["xdotool", *moves, "mousedown", "1", "sleep", "0.1", "mouseup", "1"], env=self.env, check=True)

    def drag(self, start: tuple[float, float], end: tuple[float, float], name: str = "") -> None:
        """Drag with the left button, in px from the top left; a picture is taken just before letting go."""
        stops = [start, (start[0] + 8, start[1]), (start[0] + 40, start[1])]
        stops += [((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), (end[0] - 10, end[1]), end]
        steps = ["mousemove", str(int(start[0]) - 5), str(int(start[1])), "sleep", "0.2"]
        for i, (x, y) in enumerate(stops):
            steps += ["mousemove", str(int(x)), str(int(y)), "sleep", "0.4"] + (
                ["mousedown", "1", "sleep", "0.3"] if i == 0 else []
            )
        subprocess.run(["xdotool", *steps], env=self.env, check=True)
        if name:
            self.picture(name)
        subprocess.run(["xdotool", "mouseup", "1"], env=self.env, check=True)

    def picture(self, name: str) -> None:
        """What the screen shows, as DIR/name.png."""
        if not (shutil.which("xwd") and shutil.which("convert")):
            return
        time.sleep(1.0)
        dump = self.work / "screen.xwd"
        subprocess.run(["xwd", "-root", "-silent", "-out", str(dump)], env=self.env, check=True)
        subprocess.run(["convert", f"xwd:{dump}", f"png:{self.out / name}.png"], check=True)

    def close(self) -> None:
        """End Blender, then the screen."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


LAYOUT = """
window = bpy.context.window_manager.windows[0]
clip = bpy.data.movieclips.load({clip!r})
if {model!r}:
    clip.holdfast.depth, clip.holdfast.depth_model = 'model', {model!r}
view = next(a for a in window.screen.areas if a.type == 'VIEW_3D')
with bpy.context.temp_override(window=window, area=view):
    bpy.ops.screen.area_split(direction='VERTICAL', factor=0.5)
views = sorted((a for a in window.screen.areas if a.type == 'VIEW_3D'), key=lambda a: a.x)
views[1].type = 'CLIP_EDITOR'
views[1].spaces.active.clip = clip
views[1].spaces.active.show_region_toolbar = False
for area in views:
    area.spaces.active.show_region_ui = True
"""

TABS = """
for area in bpy.context.window_manager.windows[0].screen.areas:
    for region in area.regions:
        if region.type == 'UI' and area.type in {'CLIP_EDITOR', 'VIEW_3D'}:
            region.active_panel_category = 'Holdfast'
    area.tag_redraw()
area = next((a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'CLIP_EDITOR'), None)
if area is not None:
    region = next(r for r in area.regions if r.type == 'WINDOW')
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area, region=region):
        bpy.ops.clip.view_all(fit_view=True)
"""

PICTURE = "[(j.solver.picture.keypoints_at, j.solver.picture.scene_at) for j in addon('session').jobs.values()][0]"

# The Clip editor's place becomes an Asset Browser with the test objects; the viewport shows the camera's picture whole.
ASSETS = """
window = bpy.context.window_manager.windows[0]
with bpy.context.temp_override(window=window):
    bpy.ops.holdfast.prop_assets()
area = next(a for a in window.screen.areas if a.type == 'CLIP_EDITOR')
area.ui_type = 'ASSETS'
view = next(a for a in window.screen.areas if a.type == 'VIEW_3D')
view.spaces.active.show_region_ui = False
"""

ASSETS_READY = """
import json
window = bpy.context.window_manager.windows[0]
area = next(a for a in window.screen.areas if a.ui_type == 'ASSETS')
area.spaces.active.params.asset_library_reference = 'LOCAL'
view = next(a for a in window.screen.areas if a.type == 'VIEW_3D')
region = next(r for r in view.regions if r.type == 'WINDOW')
with bpy.context.temp_override(window=window, area=view, region=region):
    bpy.ops.view3d.view_center_camera()
own = next(r for r in area.regions if r.type == 'WINDOW')
print(json.dumps([own.x, own.y + own.height]))
"""

# Where the dropped asset stands on the screen, how upright, and how far Blender's camera and the solver's disagree over the shot.
LANDED = """
import json, numpy as np
from mathutils import Vector
from bpy_extras.object_utils import world_to_camera_view
from bpy_extras.view3d_utils import location_3d_to_region_2d
scene = bpy.context.scene
window = bpy.context.window_manager.windows[0]
view = next(a for a in window.screen.areas if a.type == 'VIEW_3D')
region = next(r for r in view.regions if r.type == 'WINDOW')
ob = next(o for o in scene.objects if o.get('holdfast_rides'))
low, high = addon('props').bounds([ob])
foot = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]))
seen = location_3d_to_region_2d(region, view.spaces.active.region_3d, foot)
clip = scene.holdfast.clip
shot = addon('jobfolder').read_shot(addon('importer').job_folder_of(clip))
parent = next(o for o in scene.objects if o.get('holdfast_role') == 'parent')
world = np.array(parent.matrix_world.inverted() @ foot)[None]
before, worst = scene.frame_current, 0.0
numbering = addon('clip_frames').numbering_of(clip)
for index, number in enumerate(shot.numbers):
    scene.frame_set(numbering.scene_frame(int(number)))
    there = world_to_camera_view(scene, scene.camera, foot)
    ours = np.array([there.x * shot.width, (1 - there.y) * shot.height])
    theirs = addon('coordinates').project(world, shot.c2w[index], *shot.intrinsics[index])[0][0]
    worst = max(worst, float(np.abs(ours - theirs).max()))
scene.frame_set(before)
print(json.dumps([region.x + seen.x, region.y + seen.y, ob.matrix_world.col[2].xyz.normalized().z, worst, ob.name]))
"""

PANEL = """
import json
area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'CLIP_EDITOR')
region = next(r for r in area.regions if r.type == 'UI')
print(json.dumps([region.x, region.y, region.width, region.height, bpy.context.preferences.system.ui_scale]))
"""

STATE = "[j.solver.state.value for j in addon('session').jobs.values()]"


VIEW = """
import json
from bpy_extras.view3d_utils import location_3d_to_region_2d
area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'VIEW_3D')
region = next(r for r in area.regions if r.type == 'WINDOW')
camera = bpy.context.scene.camera
frame = camera.data.view_frame(scene=bpy.context.scene)
prop = next((o for o in bpy.data.objects if o.get('holdfast_role') == 'prop'), None)
seen = lambda place: list(location_3d_to_region_2d(region, area.spaces.active.region_3d, place))
"""


def press_in_panel(window: Window, reached) -> float:
    """Press the panel's button: its row is the first under the header, and where that is differs a little between versions.

    Returns the time of the press that made `reached()` true.
    """
    x, y, width, height, scale = json.loads(window.do(PANEL))
    places = [46, 40, 52, 58, 64, 70, 76]
    for below in sorted(places, key=lambda p: p != window.button_below):  # first where it was the last time
        pressed = time.monotonic()
        window.click(x + 0.4 * width, HEIGHT - (y + height) + below * scale)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            if reached():
                window.button_below = below
                return pressed
            time.sleep(0.02)
    raise Failed("The button did not react to the mouse")


def run(blender: str, package: Path, clip: Path, out: Path, model: str) -> dict:
    """All steps; returns the figures. Raises Failed."""
    figures: dict = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-window-") as temporary, contextlib.ExitStack() as stack:
        work = Path(temporary)
        env = dict(os.environ, BLENDER_USER_RESOURCES=str(work / "user"))
        command = [blender, "--command", "extension", "install-file", "-r", "user_default", "-e", str(package)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode or "Installed" not in done.stdout:
            raise Failed(f"Blender does not install the package: {(done.stdout + done.stderr).strip()[-500:]}")
        window = Window(blender, work, out)
        stack.callback(window.close)
        window.do("print(bpy.app.version_string)", 90)
        window.do(LAYOUT.format(clip=str(clip), model=model))
        time.sleep(3)
        window.do(TABS)
        window.picture("1_opened")
        figures["blender"] = window.ask("bpy.app.version_string")

        window.do("state['longest'] = 0.0")
        pressed = press_in_panel(window, lambda: bool(window.ask(STATE)))
        while window.ask("[j.solver.first_event_s for j in addon('session').jobs.values()]")[0] is None:
            time.sleep(0.02)
        figures["first_progress_s"] = round(time.monotonic() - pressed, 2)
        while window.ask(PICTURE)[0] < 3 and window.ask(STATE) == ["running"]:
            time.sleep(0.05)
        figures["first_picture_s"] = round(time.monotonic() - pressed, 2)
        time.sleep(2.5)
        window.picture("2_solving")
        window.do("state['longest'] = 0.0")
        longest, photographed = 0.0, False
        while window.ask(STATE) == ["running"]:
            # The last look before the end of the solve: what comes after it is the import.
            longest = max(longest, window.ask("state['longest']"))
            if not photographed and window.ask(PICTURE)[1]:  # the path and the points are there
                window.picture("2_growing")
                photographed = True
            window.do("state['longest'] = 0.0")
            time.sleep(0.1)
        figures["growing_path_was_shown"] = bool(window.ask(PICTURE)[1])
        figures["longest_gap_solving_s"] = round(longest, 3)  # Blender's own drawing included, slow without a graphics card
        figures["longest_block_solving_s"] = round(window.ask("addon('session').slowest_tick_s"), 4)
        end = time.monotonic() + 20
        while window.ask("any(j.busy for j in addon('session').jobs.values())") and time.monotonic() < end:
            time.sleep(0.05)
        figures["longest_block_importing_s"] = round(window.ask("addon('session').import_s"), 3)
        time.sleep(1)
        figures["longest_gap_importing_s"] = round(window.ask("state['longest']"), 3)
        problem = window.ask(
            "[(j.solver.message + j.solver.hint, j.message, j.imported) for j in addon('session').jobs.values()][0]"
        )
        if not problem[2]:
            raise Failed(f"The solve did not become a scene: {problem[0]} {problem[1]}")
        window.picture("3_solved")
        figures["frames"] = window.ask("[bpy.context.scene.frame_start, bpy.context.scene.frame_end]")
        figures["verdict"] = window.ask("bpy.data.movieclips[0].holdfast.summary")
        if window.ask("bpy.context.scene.camera.get('holdfast_role')") != "camera":
            raise Failed("The scene's camera is not the solved one")

        figures["drop_error_px"] = drop(window)
        window.picture("4_dropped")
        undo = "w = bpy.context.window_manager.windows[0]\nwith bpy.context.temp_override(window=w): bpy.ops.ed.undo()"
        window.do(undo)
        if window.ask("sum(o.get('holdfast_role') == 'prop' for o in bpy.data.objects)"):
            raise Failed("Undo did not take the prop back")
        window.do(undo)
        if window.ask("sum('holdfast_role' in o for o in bpy.data.objects)"):
            raise Failed("One step of undo did not take the whole import back")
        window.do("w = bpy.context.window_manager.windows[0]\nwith bpy.context.temp_override(window=w): bpy.ops.ed.redo()")

        figures.update(drop_asset(window))
        window.do("bpy.context.scene.holdfast.overlay = 'ERROR'")
        window.do(
            "area = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.ui_type == 'ASSETS')\n"
            "area.ui_type = 'CLIP_EDITOR'\narea.spaces.active.clip = bpy.data.movieclips[0]"
        )
        time.sleep(1)
        window.do(TABS)
        window.do("addon('following').show_frame(bpy.context.scene, 30)")
        window.picture("5_errors")
        window.do("bpy.context.scene.holdfast.overlay = 'NONE'")

        # a solve that outlasts the search for the button
        window.do("bpy.data.movieclips[0].holdfast.quality = 'best'\naddon('preferences').get().threads = 1")
        press_in_panel(window, lambda: window.ask(STATE) == ["running"])
        time.sleep(0.5)
        pressed = press_in_panel(window, lambda: window.ask(STATE) != ["running"])
        while window.ask(STATE) == ["cancelling"]:
            time.sleep(0.02)
        figures["cancel_s"] = round(time.monotonic() - pressed, 2)
        if (state := window.ask(STATE)) != ["cancelled"]:
            raise Failed(f"Cancel did not cancel within {figures['cancel_s']} s: {state}")
        window.picture("6_cancelled")
    return figures


def drop(window: Window) -> float:
    """Drop a prop with the mouse onto the floor at the footage's lower edge; how far from the cursor it lands, in px."""
    place = json.loads(
        window.do(
            VIEW + "print(json.dumps([seen(camera.matrix_world.normalized() @ c) for c in frame] + [(region.x, region.y)]))"
        )
    )
    corners, (left, bottom) = place[:4], place[4]
    xs, ys = [p[0] for p in corners], [p[1] for p in corners]
    x, y = min(xs) + 0.45 * (max(xs) - min(xs)), min(ys) + 0.06 * (max(ys) - min(ys))
    window.do(
        "w = bpy.context.window_manager.windows[0]\n"
        "a = next(a for a in w.screen.areas if a.type == 'VIEW_3D')\n"
        "r = next(r for r in a.regions if r.type == 'WINDOW')\n"
        "with bpy.context.temp_override(window=w, area=a, region=r): bpy.ops.holdfast.drop_prop('INVOKE_DEFAULT')"
    )
    window.click(left + x, HEIGHT - (bottom + y))
    end = time.monotonic() + 5
    while not window.ask("sum(o.get('holdfast_role') == 'prop' for o in bpy.data.objects)"):
        if time.monotonic() > end:
            raise Failed("The click dropped nothing")
        time.sleep(0.1)
    landed = json.loads(window.do(VIEW + "print(json.dumps(seen(prop.matrix_world.translation)))"))
    error = ((landed[0] - x) ** 2 + (landed[1] - y) ** 2) ** 0.5
    if error > 3.0:
        raise Failed(f"The prop landed {error:.1f} px beside the cursor")
    return round(error, 2)


def drop_asset(window: Window) -> dict:
    """Drag a test object from the Asset Browser onto the floor of the footage with the mouse; how it landed."""
    window.do(ASSETS)
    time.sleep(1.5)
    left, top = json.loads(window.do(ASSETS_READY))
    time.sleep(3)
    place = json.loads(
        window.do(
            VIEW + "print(json.dumps([seen(camera.matrix_world.normalized() @ c) for c in frame] + [(region.x, region.y)]))"
        )
    )
    corners, (x0, y0) = place[:4], place[4]
    xs, ys = [p[0] for p in corners], [p[1] for p in corners]
    x, y = x0 + min(xs) + 0.62 * (max(xs) - min(xs)), y0 + min(ys) + 0.12 * (max(ys) - min(ys))
    x, y = round(x), round(y)
    scale = window.ask("bpy.context.preferences.system.ui_scale")
    window.drag((left + 55 * scale, HEIGHT - top + 60 * scale), (x, HEIGHT - y), "4_dragging")
    end = time.monotonic() + 8
    while not window.ask("sum(bool(o.get('holdfast_rides')) for o in bpy.context.scene.objects)"):
        if time.monotonic() > end:
            window.picture("4_not_dropped")
            raise Failed("The dragged asset was not settled on a surface")
        time.sleep(0.1)
    seen_x, seen_y, upright, slip, name = json.loads(window.do(LANDED))
    window.picture("4_asset")
    error = ((seen_x - x) ** 2 + (seen_y - y) ** 2) ** 0.5
    if error > 2.5 or upright < 0.9999:
        raise Failed(f"{name} landed {error:.1f} px beside the cursor, its z axis at {upright:.4f}")
    return {"asset": name, "asset_error_px": round(error, 2), "slip_against_solver_px": round(slip, 5)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zip", type=Path, help="the packaged extension; the newest of dist/ by default")
    parser.add_argument("--clip", type=Path, help="the footage; the sample by default")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "window", help="folder for the pictures")
    parser.add_argument("--depth-model", default="", help="another depth network than the built-in one")
    options = parser.parse_args()
    blender = os.environ.get("HOLDFAST_BLENDER") or shutil.which("blender")
    missing = [name for name in ("Xvfb", "xdotool") if not shutil.which(name)]
    if not blender or missing:
        print(f"Skipped: {'no Blender with a window is installed' if not blender else ' and '.join(missing) + ' missing'} here.")
        return 0
    packages = sorted((ROOT / "dist").glob("*.zip"), key=lambda p: p.stat().st_mtime)
    clips = sorted(p for p in (ROOT / "tests" / "data").rglob("*") if p.suffix in {".mp4", ".mkv", ".mov"})
    package, clip = options.zip or next(reversed(packages), None), options.clip or next(iter(clips), None)
    if package is None or clip is None:
        print(
            f"There is no {'package: run `python3 build.py package` first' if package is None else 'clip: give one with --clip'}."
        )
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        figures = run(blender, package.resolve(), clip.resolve(), options.out.resolve(), options.depth_model)
    except Failed as problem:
        print(f"FAILED: {problem}")
        return 1
    print(json.dumps(figures, indent=1))
    limits = {"first_progress_s": 1.0, "longest_block_importing_s": 0.5, "longest_block_solving_s": 0.05, "cancel_s": 1.0}
    over = [f"{name} is {figures[name]}, the limit {limit}" for name, limit in limits.items() if figures[name] > limit]
    print(
        "\n".join(
            ["Over the limit (on a busy machine this may be the machine): " + line for line in over] or ["All limits kept."]
        )
    )
    print(f"Pictures: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
