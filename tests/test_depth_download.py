"""Fetching networks from a server that stalls, truncates, lies, moves things and resumes."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from solver import models_cli, models_download, models_registry
from solver.errors import EXIT_CANCELLED, EXIT_MODEL, EXIT_OK, EXIT_USAGE, HoldfastError
from solver.models_download import fetch_file, read_pins
from solver.models_registry import NetworkFile
from tests.depth_graphs import write_graph

CONTENT = bytes(range(256)) * 1500
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Behaves as server.behaviour says; remembers what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        start = 0
        asked = self.headers.get("Range")
        server.asked.append(asked)
        behaviour = (
            server.behaviour
            if isinstance(server.behaviour, str)
            else server.behaviour[min(len(server.asked), len(server.behaviour)) - 1]
        )
        content = server.content
        if behaviour == "404":
            self.send_error(404)
            return
        if behaviour == "503":
            self.send_error(503)
            return
        if asked and behaviour != "ignores range" and self.headers.get("If-Range") in (None, server.etag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        length = len(content) - start
        if behaviour == "claims another length":
            length -= 1000
        if behaviour == "no length":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.send_header("ETag", server.etag)
        self.send_header("Content-Type", "text/html" if behaviour == "web page" else "application/octet-stream")
        self.end_headers()
        body = content[start:]
        if behaviour in ("truncates", "stalls"):
            body = body[: len(body) // 2]
        self.wfile.write(body)
        self.wfile.flush()
        if behaviour == "stalls":
            server.release.wait(5)
        if behaviour in ("truncates", "stalls", "no length"):
            self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    instance = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    instance.daemon_threads = True
    instance.behaviour, instance.asked, instance.content, instance.etag, instance.release = (
        "good",
        [],
        CONTENT,
        '"v1"',
        threading.Event(),
    )
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    instance.url = f"http://127.0.0.1:{instance.server_port}/net.onnx"
    yield instance
    instance.release.set()
    instance.shutdown()
    instance.server_close()


def fetch(server, folder, sha256=SHA, size=None, **options):
    file = NetworkFile("net.onnx", server.url, size, sha256)
    return fetch_file(file, folder, **{"timeout_s": 0.4, "attempts": 3, "pause_s": 0.01, **options})


def test_whole_file_arrives_and_progress_is_reported(server, tmp_path):
    steps = []
    path = fetch(server, tmp_path, size=len(CONTENT), report=lambda name, here, total: steps.append((here, total)))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT)) and len(steps) > 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx"]


@pytest.mark.parametrize("trouble", ["truncates", "stalls"])
def test_goes_on_where_it_broke_off(server, tmp_path, trouble):
    server.behaviour = [trouble, trouble, "good"]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.asked[0] is None and server.asked[1] == f"bytes={half}-" and len(server.asked) == 3


def test_goes_on_after_a_restart_of_the_program(server, tmp_path):
    server.behaviour = "truncates"
    with pytest.raises(HoldfastError) as error:
        fetch(server, tmp_path, attempts=1)
    assert error.value.code == "download.broken" and not (tmp_path / "net.onnx").exists()
    server.behaviour = "good"
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1].startswith("bytes=")


def test_starts_over_when_the_file_changed_meanwhile(server, tmp_path):
    server.behaviour = ["truncates", "good"]
    with pytest.raises(HoldfastError):
        fetch(server, tmp_path, attempts=1)
    server.etag, server.content = '"v2"', CONTENT[::-1]
    assert fetch(server, tmp_path, sha256=hashlib.sha256(CONTENT[::-1]).hexdigest()).read_bytes() == CONTENT[::-1]


def test_server_without_ranges(server, tmp_path):
    server.behaviour = ["truncates", "ignores range"]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_server_without_length(server, tmp_path):
    server.behaviour = "no length"
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_busy_server_is_tried_again(server, tmp_path):
    server.behaviour = ["503", "good"]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "options", "code"),
    [
        ("404", {}, "download.refused"),
        ("503", {}, "download.broken"),
        ("truncates", {"attempts": 2}, "download.broken"),
        ("web page", {}, "download.not_a_file"),
        ("good", {"size": 1000}, "download.wrong_size"),
        ("no length", {"size": 1000}, "download.wrong_size"),
        ("good", {"sha256": "0" * 64}, "download.wrong_hash"),
        ("claims another length", {}, "download.wrong_hash"),
        ("good", {"sha256": None}, "download.unconfirmed"),
    ],
)
def test_failures_are_told_apart_and_leave_nothing_behind(server, tmp_path, behaviour, options, code):
    server.behaviour = behaviour
    with pytest.raises(HoldfastError) as error:
        fetch(server, tmp_path, **options)
    assert error.value.code == code and error.value.exit_code == EXIT_MODEL
    assert "\n" not in error.value.message and error.value.hint
    assert not (tmp_path / "net.onnx").exists()


def test_no_server_at_all(tmp_path):
    file = NetworkFile("net.onnx", "http://127.0.0.1:9/net.onnx", None, SHA)
    with pytest.raises(HoldfastError) as error:
        fetch_file(file, tmp_path, attempts=2, pause_s=0.01, timeout_s=0.5)
    assert error.value.code == "download.broken"
    with pytest.raises(HoldfastError) as error:
        fetch_file(NetworkFile("net.onnx", "file:///etc/passwd", None, SHA), tmp_path)
    assert error.value.code == "download.bad_address"


def test_full_disk_is_seen_before_anything_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=models_download.MARGIN_BYTES + 100))
    with pytest.raises(HoldfastError) as error:
        fetch(server, tmp_path)
    assert error.value.code == "download.disk_full"


def test_cancel_keeps_what_came(server, tmp_path):
    came = []
    with pytest.raises(HoldfastError) as error:
        fetch(server, tmp_path, report=lambda *a: came.append(a), cancelled=lambda: len(came) > 0)
    assert error.value.exit_code == EXIT_CANCELLED
    assert (tmp_path / "net.onnx.part").stat().st_size > 0
    assert fetch(server, tmp_path).read_bytes() == CONTENT and server.asked[-1].startswith("bytes=")


def test_unknown_hash_is_confirmed_once_and_pinned(server, tmp_path):
    asked = []
    fetch(server, tmp_path, sha256=None, confirm=lambda name, sha: asked.append((name, sha)) or True)
    assert asked == [("net.onnx", SHA)] and read_pins(tmp_path) == {"net.onnx": SHA}
    (tmp_path / "net.onnx").unlink()
    fetch(server, tmp_path, sha256=None)  # no question any more
    (tmp_path / "net.onnx").unlink()
    server.content = CONTENT + b"!"
    with pytest.raises(HoldfastError) as error:
        fetch(server, tmp_path, sha256=None)
    assert error.value.code == "download.wrong_hash"


# --- the command -----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    models_cli.add_models_parser(parser.add_subparsers(dest="command"))
    options = parser.parse_args(["models", *arguments])
    return options.run(options, None, None)


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("HOLDFAST_MODELS", str(folder))
    return folder


def test_list_names_licence_and_state(store, capsys):
    assert run() == EXIT_OK
    text = capsys.readouterr().out
    assert "holdfast-small *" in text and "Apache-2.0" in text and str(store) in text
    assert run("list", "--json") == EXIT_OK
    listed = json.loads(capsys.readouterr().out)
    by_id = {m["id"]: m for m in listed["models"]}
    assert by_id["depth-anything-v2-small"]["installed"] is False and by_id["moge-2-vits"]["gives_fov"] is True


def test_get_through_a_mirror_then_the_network_is_found(server, store, tmp_path, capsys):
    name = "depth-anything-3-small"  # two files, no hash on record
    graph = write_graph(tmp_path / "graph.onnx", output_name="predicted_depth", layout="NFCHW").read_bytes()
    server.content = graph
    mirror = server.url.rsplit("/", 1)[0]
    sha = hashlib.sha256(graph).hexdigest()
    with pytest.raises(HoldfastError) as error:
        run("get", name, "--mirror", mirror, "--events")
    assert error.value.code == "download.unconfirmed" and sha in error.value.message + error.value.hint
    assert run("get", name, "--mirror", mirror, "--events", "--accept-hash", sha) == EXIT_OK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "result" and lines[0]["event"] == "progress"
    specs, _ = models_registry.load_registry()
    found = models_registry.find_network(specs[name])
    assert found == store / "depth_anything_3_small" / "model.onnx" and found.with_name("model.onnx_data").is_file()
    assert models_registry.resolve_network(str(found))[0].id == name
    asked = len(server.asked)
    assert run("get", name) == EXIT_OK and len(server.asked) == asked
    assert run("remove", name) == EXIT_OK
    assert models_registry.find_network(specs[name]) is None
    # Once confirmed, a hash is pinned: the same content needs no question, other content is refused.
    assert run("get", name, "--mirror", mirror, "--events") == EXIT_OK
    assert run("remove", name) == EXIT_OK
    server.content = graph + b"!"
    with pytest.raises(HoldfastError) as error:
        run("get", name, "--mirror", mirror, "--events")
    assert error.value.code == "download.wrong_hash"


def test_a_hash_on_record_is_enforced_without_a_question(server, store, tmp_path):
    server.content = bytes(1000)
    for name in ("depth-anything-v2-small", "moge-2-vits", "midas-v2.1-small", "metric3d-v2-small", "dpt-hybrid"):
        with pytest.raises(HoldfastError) as error:
            run(
                "get",
                name,
                "--mirror",
                server.url.rsplit("/", 1)[0],
                "--events",
                "--accept-hash",
                hashlib.sha256(bytes(1000)).hexdigest(),
            )
        assert error.value.code in ("download.wrong_size", "download.wrong_hash")


def test_get_of_what_cannot_be_fetched(store):
    with pytest.raises(HoldfastError) as error:
        run("get", "zoedepth")
    assert error.value.code == "download.no_address"
    with pytest.raises(HoldfastError) as error:
        run("get", "midas-v9")
    assert error.value.exit_code == EXIT_USAGE


def test_add_recognises_a_file_placed_by_hand(store, tmp_path, capsys):
    path = write_graph(tmp_path / "midas_v21_small.onnx", size=(256, 256))
    assert run("add", str(path)) == EXIT_OK
    assert "midas-v2.1-small" in capsys.readouterr().out
    assert models_registry.resolve_network("midas-v2.1-small")[1] == store / "midas_v21_small.onnx"


def test_add_describes_an_own_network_from_its_graph_and_answers(store, tmp_path, capsys):
    path = write_graph(tmp_path / "mine.onnx", input_name="x", output_name="d", size=(96, 128), offset=1.0)
    with pytest.raises(HoldfastError) as error:
        run("add", str(path), "--events")
    assert error.value.code == "model.undescribed" and "--meaning" in error.value.message
    assert run("add", str(path), "--events", "--meaning", "depth", "--normalise", "unit", "--channels", "BGR") == EXIT_OK
    added = json.loads(capsys.readouterr().out)["path"]
    spec, found = models_registry.resolve_network(added)
    assert (spec.input.size, spec.input.channels, spec.output.meaning, spec.input.name) == ((128, 96), "BGR", "depth", "x")
    assert str(found) == added
    run("list", "--json")
    assert "mine" in [m["id"] for m in json.loads(capsys.readouterr().out)["models"]]


def test_add_refuses_what_is_no_network(store, tmp_path):
    path = tmp_path / "page.onnx"
    path.write_text("<html>no</html>" * 20)
    with pytest.raises(HoldfastError) as error:
        run("add", str(path))
    assert error.value.code == "model.not_onnx"
    assert not list(store.glob("*")) if store.exists() else True


def test_stall_does_not_wait_for_ever(server, tmp_path):
    server.behaviour = "stalls"
    began = time.monotonic()
    with pytest.raises(HoldfastError):
        fetch(server, tmp_path, attempts=2)
    assert time.monotonic() - began < 4
