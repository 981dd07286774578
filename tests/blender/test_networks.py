"""Depth networks from the preferences: fetched from a local server with online access alone, an unknown hash seen and pinned."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CONTENT = b"network" * 3000
SHA = hashlib.sha256(CONTENT).hexdigest()
NETWORK = "depth-anything-3-small"  # its hash is not on record


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOLDFAST_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("addon.preferences.DefaultPreferences.mirror", f"http://127.0.0.1:{server.server_port}")
    yield tmp_path / "models"
    server.shutdown()


@pytest.fixture
def online(blender, monkeypatch):
    """Whether online access is allowed cannot be changed in a running module: the operator is told."""
    from addon import networks

    def allow(yes: bool) -> None:
        app = type("App", (), {"online_access": yes, "background": True, "timers": blender.app.timers})()
        fake = type(
            "Bpy",
            (),
            {"app": app, "types": blender.types, "utils": blender.utils, "path": blender.path, "context": blender.context},
        )()
        monkeypatch.setattr(networks, "bpy", fake)

    return allow


def test_networks_are_listed_with_their_terms(blender, mirror):
    from addon import networks

    networks.refresh(wait=True)
    entries = {entry["id"]: entry for entry in networks._state.entries}
    assert entries["holdfast-small"]["embedded"] and entries["depth-anything-v2-small"]["licence"] == "Apache-2.0"
    assert networks._state.folder == str(mirror) and not networks._state.problem


def test_nothing_is_fetched_without_online_access(blender, mirror, online):
    online(False)
    with pytest.raises(RuntimeError, match="Online Access"):
        blender.ops.holdfast.network_get(identifier=NETWORK)
    assert not mirror.exists()


def test_an_unknown_hash_is_shown_trusted_and_pinned(blender, mirror, online):
    from addon import networks

    online(True)
    with pytest.raises(RuntimeError, match="No one has vouched"):
        blender.ops.holdfast.network_get(identifier=NETWORK)
    assert networks._state.download.unknown_hash == SHA
    assert blender.ops.holdfast.network_get(identifier=NETWORK, sha256=SHA) == {"FINISHED"}
    assert (mirror / "depth_anything_3_small" / "model.onnx").read_bytes() == CONTENT
    assert next(e for e in networks._state.entries if e["id"] == NETWORK)["installed"]
    assert SHA in (mirror / "pins.json").read_text()


def test_errors_are_one_line(blender, mirror, online):
    online(True)
    with pytest.raises(RuntimeError) as error:
        blender.ops.holdfast.network_get(identifier="depth-anything-v2-small")
    assert "bytes" in str(error.value) and "Traceback" not in str(error.value)


def test_a_network_of_ones_own_is_added_with_what_it_does_not_say(blender, mirror, online, tmp_path):
    onnx = pytest.importorskip("onnx")
    from addon import networks
    from tests.depth_graphs import write_graph

    online(False)  # nothing is fetched
    path = write_graph(tmp_path / "mine.onnx", output_name="far", extras={"sure": 0.5}, size=(96, 128))
    assert onnx.load(path)
    with pytest.raises(RuntimeError, match="--output"):
        blender.ops.holdfast.network_add(filepath=str(path), meaning="depth")
    assert blender.ops.holdfast.network_add(filepath=str(path), meaning="depth", normalise="unit", output="far") == {"FINISHED"}
    assert "mine" in [entry["id"] for entry in networks._state.entries] and (mirror / "mine.onnx.json").is_file()


class Layout:
    """Takes everything a layout takes and keeps the texts and operators."""

    def __init__(self):
        self.said, self.buttons = [], []

    def row(self, **_):
        return self

    column = box = row

    def label(self, text="", **_):
        self.said.append(text)

    def progress(self, text="", **_):
        self.said.append(text)

    def operator(self, name, text="", **_):
        button = type("Button", (), {})()
        self.buttons.append((name, text, button))
        return button


def test_what_the_preferences_show(blender, mirror, online):
    from addon import job, networks

    networks.refresh(wait=True)
    layout = Layout()
    networks.draw(layout, blender.context)
    assert "Comes with Holdfast" in layout.said and any("Online Access" in text for text in layout.said)
    assert any(getattr(b, "identifier", "") == "moge-2-vits" and text == "141 MB" for _, text, b in layout.buttons)
    assert any("research only" in text and "see its licence" in text for text in layout.said)  # Depth Pro
    download = networks._state.download = networks.Download(NETWORK, ["x"], {})
    download.state, download.done, download.total = job.JobState.RUNNING, 5e6, 50e6
    networks.draw(layout := Layout(), blender.context)
    assert any("5 of 50 MB" in text for text in layout.said)
    assert "holdfast.network_cancel" in [name for name, *_ in layout.buttons]
    download.state, download.code, download.message = job.JobState.FAILED, "download.unconfirmed", f"No one … (SHA-256 {SHA})."
    networks.draw(layout := Layout(), blender.context)
    assert SHA in layout.said and any(getattr(b, "sha256", "") == SHA for _, _, b in layout.buttons)
    networks._state.download = None
