"""Exports read back by code that did not write them project the points to the same pixels."""

from __future__ import annotations

import json
import math
import re

import cv2
import numpy as np
import pytest

from solver import report
from solver.errors import HoldfastError
from solver.export import export_solution
from solver.export_lens import distort, st_map, undistort
from solver.poses import focal_xy
from tests.io_synthetic import make_solution, project

KINDS = {
    "pinhole": {"k1": 0.0},
    "radial1": {},
    "radial2 zoom": {"k2": 0.02, "zoom": True, "frames": range(1001, 1008), "path": "plate.####.exr"},
    "anamorphic": {"pixel_aspect": 2.0},
    "anamorphic pinhole": {"pixel_aspect": 1.5, "k1": 0.0},
}


@pytest.fixture(scope="module", params=KINDS)
def job(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    solution = make_solution(**KINDS[request.param])
    report.write_solution(solution, folder)
    return solution, folder


def truth(solution, i) -> np.ndarray:
    return project(solution.camera, focal_xy(solution)[i], solution.cam_from_world[i], solution.points)


def test_colmap_read_by_pycolmap(job):
    pycolmap = pytest.importorskip("pycolmap")
    solution, folder = job
    model = pycolmap.Reconstruction(str(export_solution(str(folder), "colmap")))
    assert len(model.images) == len(solution.frame_numbers) and len(model.points3D) == len(solution.points)
    xyz = np.array([model.points3D[i + 1].xyz for i in range(len(solution.points))])
    worst = 0.0
    for image in model.images.values():
        i = image.image_id - 1
        pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        local = xyz @ np.array(pose.matrix())[:, :3].T + np.array(pose.matrix())[:, 3]
        camera = model.cameras[image.camera_id]
        got = np.array([camera.img_from_cam(point) for point in local])
        worst = max(worst, np.abs(got - truth(solution, i)).max())
        for observation in image.points2D:
            if observation.has_point3D():
                worst = max(worst, np.abs(observation.xy - truth(solution, i)[observation.point3D_id - 1]).max())
    assert worst < 0.01
    model.update_point_3d_errors()
    assert model.compute_mean_reprojection_error() < 0.01
    assert (len(model.cameras) > 1) == bool(np.ptp(solution.focal_px))


def read_colmap_text(folder):
    """A plain reading of the format's documentation, for machines without pycolmap."""
    rows = {
        name: [r for r in (folder / f"{name}.txt").read_text().split("\n") if not r.startswith("#")]
        for name in ("cameras", "images")
    }
    cameras = {int(r.split()[0]): (r.split()[1], [float(v) for v in r.split()[4:]]) for r in rows["cameras"] if r}
    images = []
    for pose, _ in zip(rows["images"][::2], rows["images"][1::2], strict=False):
        parts = pose.split()
        images.append((np.array(parts[1:5], float), np.array(parts[5:8], float), cameras[int(parts[8])], parts[9]))
    return images


def test_colmap_text(job):
    solution, folder = job
    images = read_colmap_text(export_solution(str(folder), "colmap"))
    assert len(images) == len(solution.frame_numbers)
    for i, ((w, x, y, z), t, (model, values), name) in enumerate(images):
        axis = np.array([x, y, z])
        angle = 2 * math.atan2(np.linalg.norm(axis), w)
        rotation = cv2.Rodrigues(axis / max(np.linalg.norm(axis), 1e-12) * angle)[0]
        local = solution.points @ rotation.T + t
        xy = local[:, :2] / local[:, 2:]
        r2 = (xy**2).sum(1, keepdims=True)
        count = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5, "OPENCV": 8}[model]
        assert len(values) == count
        two = model in ("PINHOLE", "OPENCV")
        focal, centre, k = np.array(values[: 1 + two]), np.array(values[1 + two : 3 + two]), [*values[3 + two :], 0, 0]
        assert np.abs(focal * xy * (1 + k[0] * r2 + k[1] * r2 * r2) + centre - truth(solution, i)).max() < 0.01
        assert name == (f"plate.{1001 + i:04d}.exr" if solution.clip.is_sequence else f"frame_{i:06d}.png")


def test_nerfstudio(job, tmp_path):
    solution, folder = job
    document = json.loads(export_solution(str(folder), "nerfstudio", str(tmp_path / "transforms.json")).read_text())
    assert (tmp_path / document["ply_file_path"]).exists()
    for i, frame in enumerate(document["frames"]):
        pose = np.array(frame["transform_matrix"])
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        local = (solution.points - pose[:3, 3]) @ pose[:3, :3]
        local = local * [1, -1, -1]  # OpenGL: y up, looking along -z
        matrix = np.array(
            [
                [frame.get("fl_x", document["fl_x"]), 0, document["cx"]],
                [0, frame.get("fl_y", document["fl_y"]), document["cy"]],
                [0, 0, 1],
            ]
        )
        got = cv2.projectPoints(local, np.zeros(3), np.zeros(3), matrix, np.array([document["k1"], document["k2"], 0, 0]))[0][
            :, 0
        ]
        assert np.abs(got - truth(solution, i)).max() < 0.01


def test_ply(job):
    solution, folder = job
    data = export_solution(str(folder), "ply").read_bytes()
    assert np.allclose(np.frombuffer(data.split(b"end_header\n")[1][:12], "<f4"), solution.points[0], atol=1e-6)


def chan_projection(solution, row) -> np.ndarray:
    """What a compositor makes of a line of .chan: a centred pinhole camera."""
    rx, ry, rz = np.radians(row[4:7])
    cos, sin = np.cos, np.sin
    about_x = np.array([[1, 0, 0], [0, cos(rx), -sin(rx)], [0, sin(rx), cos(rx)]])
    about_y = np.array([[cos(ry), 0, sin(ry)], [0, 1, 0], [-sin(ry), 0, cos(ry)]])
    about_z = np.array([[cos(rz), -sin(rz), 0], [sin(rz), cos(rz), 0], [0, 0, 1]])
    local = (solution.points - row[1:4]) @ (about_y @ about_x @ about_z)  # z first, then x, then y
    half = math.tan(math.radians(row[7]) / 2)
    ndc = local[:, :2] / -local[:, 2:] / half  # -1..1 over the picture's height
    height, width = solution.camera.height, solution.camera.width
    return np.stack([width / 2 + ndc[:, 0] * height / 2 / solution.clip.pixel_aspect, height / 2 - ndc[:, 1] * height / 2], -1)


def test_chan_fits_the_undistorted_picture(job):
    solution, folder = job
    rows = np.loadtxt(export_solution(str(folder), "chan"), ndmin=2)
    # Movies count from 1 in compositors.
    first = solution.frame_numbers + (0 if solution.clip.is_sequence else 1)
    assert np.array_equal(rows[:, 0], first) and rows.shape[1] == 8
    for i, row in enumerate(rows):
        plate = distort(solution.camera, tuple(focal_xy(solution)[i]), chan_projection(solution, row))
        assert np.abs(plate - truth(solution, i)).max() < 0.01


def test_chan_angles_against_a_library(job):
    transform = pytest.importorskip("scipy.spatial.transform")
    solution, folder = job
    rows = np.loadtxt(export_solution(str(folder), "chan"), ndmin=2)
    # lower case: about fixed axes, in this order
    got = transform.Rotation.from_euler("zxy", rows[:, [6, 4, 5]], degrees=True).as_matrix()
    expected = solution.cam_from_world[:, :3, :3].transpose(0, 2, 1) * [1, -1, -1]
    assert np.abs(got - expected).max() < 1e-9


def test_st_maps_as_a_compositor_reads_them(job):
    solution, folder = job
    path = export_solution(str(folder), "stmap")
    zoom = bool(np.ptp(solution.focal_px))
    names = sorted(file.name for file in path.iterdir())
    assert len(names) == (2 * len(solution.frame_numbers) if zoom else 2)
    camera, i = solution.camera, len(solution.frame_numbers) - 1 if zoom else 0
    focal = tuple(focal_xy(solution)[i])
    suffix = f".{solution.frame_numbers[i]}" if zoom else ""
    for direction, there in (("undistort", distort), ("redistort", undistort)):
        stored = cv2.imread(str(path / f"{direction}{suffix}.exr"), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert stored.dtype == np.float32 and stored.shape == (camera.height, camera.width, 3)
        here = np.array([[100.5, 50.5], [600.5, 300.5], [camera.width - 0.5, camera.height - 0.5]])
        looked_up = stored[here[:, 1].astype(int), here[:, 0].astype(int)]
        got = np.stack([looked_up[:, 0] * camera.width, (1 - looked_up[:, 1]) * camera.height], -1)
        assert np.abs(got - there(camera, focal, here)).max() < 0.01
    pixels = np.random.default_rng(0).uniform([0, 0], [camera.width, camera.height], (200, 2))
    assert np.abs(distort(camera, focal, undistort(camera, focal, pixels)) - pixels).max() < 1e-6


def test_st_map_exr_read_by_openexr(tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    solution = make_solution()
    report.write_solution(solution, tmp_path)
    path = export_solution(str(tmp_path), "stmap") / "undistort.exr"
    with openexr.File(str(path)) as file:
        channels = file.channels()
        pixels = channels["RGB"].pixels if "RGB" in channels else np.dstack([channels[c].pixels for c in "RGB"])
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, st_map(solution.camera, tuple(focal_xy(solution)[0]), "undistort"))


def test_warping_a_picture_there_and_back():
    """The maps do what their names say on a real picture: a straight line bent by the lens becomes straight."""
    solution = make_solution(k1=-0.25)
    camera, focal = solution.camera, tuple(focal_xy(solution)[0])
    straight = np.zeros((camera.height, camera.width), np.float32)
    straight[:, 100:103] = 1

    def warp(image, direction):
        st = st_map(camera, focal, direction)
        x, y = st[..., 0] * camera.width - 0.5, (1 - st[..., 1]) * camera.height - 0.5
        return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)

    def columns(image):
        rows = image[60:300:20]
        return (rows * np.arange(camera.width)).sum(1) / rows.sum(1)

    bent = warp(straight, "redistort")
    assert np.ptp(columns(bent)) > 3
    assert np.ptp(columns(warp(bent, "undistort"))) < 0.3


def test_nuke_script(job):
    """The lens formula in the script, evaluated, is the lens; the camera's curves are those of the .chan."""
    solution, folder = job
    text = export_solution(str(folder), "nuke-lens").read_text()
    assert text.count("{") == text.count("}")
    chan = np.loadtxt(export_solution(str(folder), "chan"), ndmin=2)

    def curve(words: str, frame: int) -> float:
        if not words.startswith("{"):
            return float(words)
        keys = dict(re.findall(r"x(-?\d+) (\S+?)(?=[ }])", words))
        return float(keys[str(frame)])

    value = r"(\{curve [^}]*\}|[-\d.e]+)"
    moves = re.search(rf"translate \{{{value} {value} {value}\}}", text).groups()
    focal_mm = re.search(rf"\n focal \{{?{value}\}}?", text).group(1)
    aperture = float(re.search(r"vaperture (\S+)", text).group(1))
    u = re.search(r'expr0 "(.*)"', text).group(1)
    v = re.search(r'expr1 "(.*)"', text).group(1)
    camera = solution.camera
    for i, frame in enumerate(chan[:, 0].astype(int)):
        assert np.allclose([curve(m, frame) for m in moves], chan[i, 1:4])
        fov = math.degrees(2 * math.atan(aperture / 2 / curve(focal_mm, frame)))
        assert fov == pytest.approx(chan[i, 7], abs=1e-6)
        fx, fy = focal_xy(solution)[i]
        for column, row in ((0, 0), (500, 20), (639, 359)):  # y counts from the bottom there
            names = {"x": column, "y": row}
            numbers = [
                eval(e.replace("parent.focal_x", repr(float(fx))).replace("parent.focal_y", repr(float(fy))), names)
                for e in (u, v)
            ]
            got = np.array([numbers[0] * camera.width, (1 - numbers[1]) * camera.height])
            expected = distort(camera, (fx, fy), np.array([column + 0.5, camera.height - (row + 0.5)]))
            assert np.abs(got - expected).max() < 0.01


def test_exporting_again_replaces_and_keeps_what_is_the_users(job, tmp_path):
    _, folder = job
    target = tmp_path / "colmap"
    export_solution(str(folder), "colmap", str(target))
    before = (target / "images.txt").read_bytes()
    (target / "notes.txt").write_text("mine")
    (target / "images.txt").write_text("old")
    export_solution(str(folder), "colmap", str(target))
    assert (target / "images.txt").read_bytes() == before and (target / "notes.txt").exists()
    assert not list(tmp_path.glob(".holdfast*"))


def test_export_errors(tmp_path):
    with pytest.raises(HoldfastError) as caught:
        export_solution(str(tmp_path / "none"), "colmap")
    assert caught.value.code == "result.missing"
    report.write_solution(make_solution(), tmp_path / "job")
    (tmp_path / "file").write_text("")
    with pytest.raises(HoldfastError) as caught:
        export_solution(str(tmp_path / "job"), "colmap", str(tmp_path / "file" / "x"))
    assert caught.value.code == "output.unwritable"
