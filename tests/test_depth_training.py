"""The rasteriser against hand-made geometry, the measures against known answers, the loss against its invariances."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

from models.training.metrics import align, frame_scores, log_error, tilted_plane


def truth_and_prediction(rng):
    z = rng.uniform(1, 8, (40, 60))
    return z, 0.3 * (1 / z) + 2.0


def test_exact_disparity_scores_perfectly_whatever_its_scale_and_shift():
    rng = np.random.default_rng(0)
    z, p = truth_and_prediction(rng)
    valid = rng.random(z.shape) < 0.8
    np.testing.assert_allclose(align(p, z, valid)[valid], z[valid], rtol=1e-6)
    scores = frame_scores(p, z, valid, None, rng)
    assert scores["absrel"] < 1e-6 and scores["delta1"] == 1.0 and scores["ordinal"] == 0.0


def test_reversed_disparity_is_not_turned_round():
    rng = np.random.default_rng(0)
    z, p = truth_and_prediction(rng)
    valid = np.ones(z.shape, bool)
    scores = frame_scores(-p, z, valid, None, rng)
    constant = frame_scores(np.zeros(z.shape), z, valid, None, rng)
    assert scores["ordinal"] == 1.0 and scores["absrel"] == pytest.approx(constant["absrel"]) and constant["ordinal"] == 0.5


def test_confidence_is_compared_with_what_happens():
    rng = np.random.default_rng(0)
    z, _ = truth_and_prediction(rng)
    valid = np.ones(z.shape, bool)
    noisy = 5 / z * np.exp(rng.laplace(0, 0.1, z.shape))
    within = log_error(noisy, z, valid) < 0.1
    assert within.mean() == pytest.approx(1 - np.exp(-1), abs=0.02)
    honest = frame_scores(noisy, z, valid, np.full(z.shape, within.mean()), rng)
    boastful = frame_scores(noisy, z, valid, np.full(z.shape, 0.99), rng)
    assert honest["calibration_error"] < 0.01 < boastful["calibration_error"]
    assert boastful["confidence_truth"] == pytest.approx(within.mean())


def test_tilted_plane_is_nearer_below():
    plane = tilted_plane((5, 3))
    assert (np.diff(plane, axis=0) > 0).all() and (np.diff(plane, axis=1) == 0).all()


needs_gl = pytest.mark.skipif(importlib.util.find_spec("moderngl") is None, reason="moderngl is not installed")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture(scope="module")
def raster():
    os.environ.setdefault("LP_NUM_THREADS", "1")
    from models.training.raster import Rasteriser

    try:
        return Rasteriser(160, 96, samples=2)
    except Exception as error:  # no EGL on this machine
        pytest.skip(f"no OpenGL through EGL: {error}")


def look_north(height: float) -> np.ndarray:
    """Camera at (0, 0, height) looking along +y, z up."""
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    cam_from_world[:3, 3] = -cam_from_world[:3, :3] @ [0, 0, height]
    return cam_from_world


@needs_gl
def test_depth_and_ids_are_those_of_the_pixel_centres(raster):
    from models.training import primitives
    from models.training.raster import Item, Scene

    fx, fy, cx, cy = 150.0, 140.0, 83.0, 45.0
    ground = Item(primitives.sheet(), 1, scale=np.array([500.0, 500.0, 1.0]))
    block = Item(primitives.box(), 2, position=np.array([0.0, 6.0, 1.0]), scale=np.array([1.0, 2.0, 2.0]))
    rgb, depth, ids = raster.render(Scene([ground, block]), look_north(1.6), fx, fy, cx, cy)
    assert rgb.shape == (96, 160, 3) and rgb.dtype == np.uint8
    v, u = np.mgrid[0:96, 0:160] + 0.5
    on_ground = ids == 1
    np.testing.assert_allclose(depth[on_ground], (1.6 * fy / (v - cy))[on_ground], rtol=2e-4)
    front = ids == 2
    assert front.any() and np.allclose(depth[front].min(), 5.0, atol=1e-3)
    # The block's front face spans x -0.5..0.5 and z 0..2 at a depth of 5.
    expected = (np.abs((u - cx) / fx * 5) < 0.5) & ((v - cy) / fy * 5 < 1.6) & ((v - cy) / fy * 5 > -0.4)
    assert (front == expected).mean() > 0.999
    assert np.isinf(depth[ids == 0]).all() and (ids[:40, 0] == 0).all()


@needs_gl
def test_sun_throws_shadows_and_cut_outs_let_light_through(raster):
    from models.training import primitives
    from models.training.raster import Item, Scene

    ground = Item(primitives.sheet(), 1, scale=np.array([60.0, 60.0, 1.0]))
    holes = np.zeros((4, 4, 4), np.uint8)
    holes[..., :3] = 255
    lid = {"position": np.array([0.0, 8.0, 6.0]), "scale": np.array([4.0, 4.0, 1.0])}
    scene = Scene(
        [ground, Item(primitives.sheet(), 2, **lid)],
        sun_direction=np.array([0.0, 0.0, 1.0]),
        shadow_centre=np.array([0.0, 8.0, 0.0]),
        exposure=0.3,
    )
    under = (slice(60, 66), slice(78, 82))
    shaded = raster.render(scene, look_north(1.6), 120, 120, 80, 40)[0][under].mean()
    scene.items[1] = Item(primitives.sheet(), 2, casts_shadow=False, **lid)
    lit = raster.render(scene, look_north(1.6), 120, 120, 80, 40)[0][under].mean()
    assert shaded < 0.7 * lit
    scene.items[1] = Item(
        primitives.sheet(), 2, texture=holes, position=np.array([0.0, 8.0, 1.6]), scale=np.array([4.0, 1.0, 4.0])
    )
    assert 2 not in raster.render(scene, look_north(1.6), 120, 120, 80, 40)[2]


@needs_gl
def test_every_kind_of_world_gives_usable_views(raster):
    from models.training.generate import informative
    from models.training.objects import Stock
    from models.training.scenes import WORLDS, random_view, random_world

    stock = Stock(5)
    for name in WORLDS:
        rng = np.random.default_rng(len(name))
        usable = 0
        for _ in range(4):
            world = random_world(rng, stock, name)
            view = random_view(rng, world, raster.width)
            _, depth, ids = raster.render(world.scene, view.cam_from_world, view.focal_px, view.focal_px, 80, 48)
            usable += informative(depth, ids)
            np.testing.assert_allclose(view.cam_from_world[:3, :3] @ view.cam_from_world[:3, :3].T, np.eye(3), atol=1e-9)
        assert usable >= 1, name


@needs_torch
def test_loss_is_zero_for_the_truth_and_blind_to_scale_where_it_should_be():
    import torch

    from models.training.losses import centred_log, losses

    torch.manual_seed(0)
    disparity = torch.rand(3, 24, 32) * 0.2 + 0.1
    disparity[:, :3] = 0  # sky
    truth = centred_log(disparity)
    assert float(truth.min()) == -3.0 and torch.allclose(centred_log(disparity * 7), truth, atol=1e-5)
    terms = losses(torch.stack([truth, torch.zeros_like(truth)], 1), disparity)
    assert max(abs(float(terms[k])) for k in ("scale_free", "direct", "gradient")) < 1e-5
    scaled = losses(torch.stack([truth + 0.7, torch.zeros_like(truth)], 1), disparity)
    assert float(scaled["scale_free"]) < 1e-5 < float(scaled["direct"])
    wrong = losses(torch.stack([torch.randn_like(truth), torch.zeros_like(truth)], 1), disparity)
    assert float(wrong["scale_free"]) > 0.5


@needs_torch
def test_aligned_loss_forgives_scale_and_shift_of_disparity_and_nothing_else():
    import torch

    from models.training.losses import after_alignment

    torch.manual_seed(0)
    disparity = torch.rand(2, 24, 32) * 0.2 + 0.1
    disparity[:, :3] = 0  # sky
    stretched = torch.log(3.0 * disparity / 0.2 + 0.5)
    assert float(after_alignment(stretched, disparity)) < 0.03
    stretched[:, :3] = 2.0  # what is said of the sky does not count
    assert float(after_alignment(stretched, disparity)) < 0.03
    plain = float(after_alignment(torch.zeros(2, 24, 32), disparity))
    assert plain > 0.15
    assert float(after_alignment(-stretched, disparity)) == pytest.approx(plain, rel=0.1)  # inside out is held to flat


def test_light_hardly_gets_into_a_corner():
    from models.training.occlusion import occlusion, shaded

    # A camera 1 m above a floor, looking level at a wall 4 m away: the floor meets the wall in one row.
    focal, height, width = 100.0, 96, 160
    v = (np.arange(height) + 0.5 - height / 2)[:, None] * np.ones(width)
    floor = np.where(v > 0, focal / np.maximum(v, 1e-6), np.inf)
    depth = np.minimum(floor, 4.0).astype(np.float32)
    closed = occlusion(depth, focal, 0.8)
    seam = int(np.argmax(floor[:, 0] < 4.0))
    assert closed[seam - 3 : seam + 3, 40:120].mean() > 0.1
    assert closed[5:20, 40:120].max() < 0.02 and closed[-8:, 40:120].max() < 0.05
    rgb = np.full((height, width, 3), 128, np.uint8)
    dark = shaded(np.random.default_rng(0), rgb, depth, focal)
    assert dark[seam, 80, 0] < dark[10, 80, 0] and (dark <= rgb).all()


@needs_torch
def test_network_takes_any_multiple_of_32_and_knows_where_it_looks():
    import torch

    from models.training.network import Deployed, HoldfastNet, coordinates

    network = HoldfastNet((8, 8, 16, 16, 16), (1, 1, 1, 1))
    image = torch.rand(1, 3, 96, 160)
    for twice in (False, True):
        deployed = Deployed(network, twice=twice).eval()
        for picture in (image, torch.rand(1, 3, 192, 128)):
            with torch.no_grad():
                disparity, confidence = deployed(picture)
            assert disparity.shape == confidence.shape == (1, 1, picture.shape[2] // 2, picture.shape[3] // 2)
            assert 0 <= float(confidence.min()) <= float(confidence.max()) <= 1
    with torch.no_grad():  # looking twice does not care for left and right
        both = deployed(image)[0], torch.flip(deployed(torch.flip(image, [3]))[0], [3])
    assert torch.allclose(*both, atol=1e-5)
    where = coordinates(torch.zeros(1, 1, 4, 8))
    assert where[0, 1, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75] and float(where[0, 0, 0, 0]) == -1.75


@needs_torch
def test_orthogonal_updates_have_singular_values_near_one():
    import torch

    from models.training.muon import orthogonal

    torch.manual_seed(0)
    for shape in ((3, 24, 60), (2, 60, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert float(values.min()) > 0.5 and float(values.max()) < 1.3


@needs_torch
def test_every_parameter_has_one_optimiser_and_a_few_steps_learn():
    import torch

    from models.training.losses import losses
    from models.training.muon import optimisers_for
    from models.training.network import HoldfastNet

    torch.manual_seed(0)
    network = HoldfastNet((8, 8, 16, 16, 16), (1, 1, 1, 1))
    for muon in (False, True):
        optimisers = optimisers_for(network, 3e-3, muon)
        assert len(optimisers) == 1 + muon
        held = [id(p) for o in optimisers for g in o.param_groups for p in g["params"]]
        assert sorted(held) == sorted(id(p) for p in network.parameters())
    pictures = torch.rand(4, 3, 64, 64)
    target = torch.linspace(0.1, 0.4, 32)[None, :, None].expand(4, 32, 32)
    first = None
    for _ in range(15):
        loss = losses(network(pictures), target)["direct"]
        first = first if first is not None else float(loss.detach())
        network.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
    assert float(loss.detach()) < 0.6 * first


@needs_torch
def test_schedule_by_steps_and_by_the_clock(monkeypatch):
    from models.training import train

    by_steps = train.Schedule(1000, None, 0.0)
    assert [by_steps.progress(s) for s in (0, 500, 1000, 2000)] == [0.0, 0.5, 1.0, 1.0]
    monkeypatch.setattr(train.time, "time", lambda: 100.0)
    by_clock = train.Schedule(1000, 300.0, 0.4)
    assert by_clock.progress(7) == pytest.approx(0.4)
    monkeypatch.setattr(train.time, "time", lambda: 200.0)
    assert by_clock.progress(7) == pytest.approx(0.7)
    monkeypatch.setattr(train.time, "time", lambda: 301.0)
    assert by_clock.progress(7) == 1.0
    assert train.learning_rate(5000, 0.0, 1.0) == 1.0 and train.learning_rate(5000, 1.0, 1.0) == pytest.approx(0.01)


@needs_gl
def test_many_views_at_once_are_the_views_one_by_one(raster):
    from models.training import primitives
    from models.training.raster import Item, Scene

    ground = Item(primitives.sheet(), 1, scale=np.array([500.0, 500.0, 1.0]))
    blocks = [Item(primitives.box(), 2 + k, position=np.array([k - 1.0, 4.0 + k, 0.5])) for k in range(3)]
    scene = Scene([ground, *blocks])
    cameras = [(look_north(height), 150.0, 140.0, 83.0, 45.0) for height in (1.6, 0.9, 2.5)]
    depths, ids = raster.survey(scene, cameras)
    pictures = raster.pictures(scene, cameras, [(0.1, 0.5, 2.0)] * 3, [0.0] * 3)
    for k, camera in enumerate(cameras):
        rgb, depth, _ = raster.render(scene, *camera, (0.1, 0.5, 2.0))
        assert np.abs(pictures[k].astype(int) - rgb).mean() < 0.5
        middle = depth[: 2 * (depth.shape[0] // 2), : 2 * (depth.shape[1] // 2)].reshape(48, 2, 80, 2)
        low, high = middle.min(axis=(1, 3)), middle.max(axis=(1, 3))
        known = np.isfinite(depths[k]) & np.isfinite(high)
        assert known.any()
        inside = (depths[k] > low * 0.995) & (depths[k] < high * 1.005)
        assert inside[known].mean() > 0.98
    assert set(np.unique(ids)) <= {0, 1, 2, 3, 4} and 2 in ids


@needs_gl
def test_occlusion_on_the_card_darkens_what_stands_on_the_ground_and_nothing_open(raster):
    from models.training import primitives
    from models.training.raster import Item, Scene

    ground = Item(primitives.sheet(), 1, scale=np.array([500.0, 500.0, 1.0]))
    wall = Item(primitives.box(), 2, position=np.array([0.0, 6.0, 1.0]), scale=np.array([30.0, 1.0, 30.0]))
    scene = Scene([ground, wall], sun_colour=(0.0, 0.0, 0.0), exposure=0.8)
    camera = (look_north(1.6), 100.0, 100.0, 80.0, 48.0)
    open_, shaded = (raster.render(scene, *camera, (0.1, 0.8, s))[0].astype(float).mean(2) for s in (0.0, 3.0))
    seam = 48 + round(100 * 1.6 / 5.5)
    assert shaded[seam - 2 : seam + 3, 40:120].mean() < 0.93 * open_[seam - 2 : seam + 3, 40:120].mean()
    assert shaded[10:30, 40:120].mean() > 0.98 * open_[10:30, 40:120].mean()


def batch(count: int = 6, size: tuple[int, int] = (96, 64)):
    """((B, 3, h, w) pictures, (B, h/2, w/2) disparities) of slanted noise."""
    import torch

    torch.manual_seed(0)
    disparity = torch.linspace(0.2, 1.0, size[1] // 2)[None, :, None].expand(count, -1, size[0] // 2).contiguous()
    return torch.rand(count, 3, size[1], size[0]), disparity


@needs_torch
def test_effects_keep_shape_and_range_and_are_the_same_from_the_same_seed():
    import torch

    from models.training.augment import degrade

    pictures, disparity = batch(16)
    disparity[0] = 0  # all sky
    pictures[1], pictures[2] = 0, 1
    before = pictures.clone()
    for seed in range(4):
        results = [degrade(pictures, disparity, torch.Generator().manual_seed(seed)) for _ in range(2)]
        assert results[0].shape == pictures.shape and torch.isfinite(results[0]).all()
        assert float(results[0].min()) >= 0 and float(results[0].max()) <= 1
        assert torch.equal(*results) and torch.equal(pictures, before)
    clean = degrade(pictures, disparity, torch.Generator().manual_seed(0), clean=1.0)
    assert torch.allclose(clean, pictures, atol=1e-6)


@needs_torch
def test_each_effect_does_what_it_is_named_for():
    import torch

    from models.training import augment

    count = 32
    pictures, disparity = batch(count)
    flat = torch.full_like(pictures, 0.5)
    chance = augment.Chance(torch.Generator().manual_seed(1), count, pictures.device)

    hazy = augment.haze(chance, flat, disparity)
    changed = (hazy - flat).abs().amax((1, 2, 3)) > 1e-3
    far, near = (hazy - flat)[changed][:, :, :16].abs().mean(), (hazy - flat)[changed][:, :, -16:].abs().mean()
    assert 0 < changed.sum() < count / 2 and far > near

    blurred = augment.lens(chance, pictures, disparity)
    spread = blurred.std((1, 2, 3)) / pictures.std((1, 2, 3))
    assert float(spread.max()) > 0.999 and float(spread.min()) < 0.9  # some sharp, some not

    moved = augment.motion(chance, pictures)
    assert 0 < ((moved - pictures).abs().amax((1, 2, 3)) > 1e-3).sum() <= 0.12 * count + 1

    squares = augment.blocks(chance, pictures).reshape(count, 3, 8, 8, 12, 8).permute(0, 1, 2, 4, 3, 5)
    assert float((augment.blocks(chance, flat) - flat).abs().max()) < 0.25
    assert torch.isfinite(squares).all()

    grey = augment.colour(chance, pictures)
    assert 0 < ((grey.amax(1) - grey.amin(1)).amax((1, 2)) < 1e-4).sum() < count  # a few without any colour


@needs_torch
def test_crops_are_of_the_size_and_of_what_lies_there(tmp_path):
    import torch

    from models.training.store import PictureStore, random_crops

    # Brightness and disparity both grow along x: wherever it is cut and however it is mirrored, they stay together.
    ramp = np.linspace(0, 1, 96)
    rgb = np.repeat(np.repeat((ramp * 255).astype(np.uint8)[None, None, :, None], 68, axis=1), 3, axis=3)
    disparity = np.repeat(np.linspace(0, 1, 48)[None, None].astype(np.float16), 34, axis=1)
    for name in ("s001_0000", "s001_0001"):
        np.save(tmp_path / f"{name}.rgb.npy", np.repeat(rgb, 3, axis=0))
        np.save(tmp_path / f"{name}.disparity.npy", np.repeat(disparity, 3, axis=0))
    store = PictureStore(tmp_path, 4, "cpu", take=True).load_all()
    assert store.count == 4 and store.seen == 4 and not list(tmp_path.glob("*.npy"))
    generator = torch.Generator().manual_seed(0)
    ups = 0
    for size in ((64, 32), (32, 48)):
        pictures, depths = store.crops(generator, 24, size)
        assert pictures.shape == (24, 3, size[1], size[0]) and depths.shape == (24, size[1] // 2, size[0] // 2)
        coarse = torch.nn.functional.avg_pool2d(pictures, 2).mean(1)
        assert float((coarse - depths).abs().max()) < 0.05
        ups += int((pictures[:, 0, 0, -1] > pictures[:, 0, 0, 0]).sum())
    assert 8 < ups < 40  # mirrored half of the time
    whole, _ = random_crops(store.rgb[:2].permute(0, 3, 1, 2), store.disparity[:2], (96, 68), 1.0, generator)
    assert float(whole.max() - whole.min()) > 0.85


@needs_torch
def test_training_runs_stops_and_resumes(tmp_path):
    import argparse
    import json

    import torch

    from models.training import train

    rng = np.random.default_rng(0)
    shards, out = tmp_path / "shards", tmp_path / "run"
    shards.mkdir()
    out.mkdir()
    np.save(shards / "s001_0000.rgb.npy", rng.integers(0, 255, (4, 68, 96, 3), dtype=np.uint8))
    np.save(shards / "s001_0000.disparity.npy", rng.uniform(0.1, 1, (4, 34, 48)).astype(np.float16))
    options = {
        "shards": shards, "validation": None, "out": out, "until": None, "resume_at": None, "optimiser": "adamw", "clean": 0.1,
        "smallest": 0.6, "batch": 2, "capacity": 4, "first": 1, "start_at": None, "take": False, "peak": 1e-3, "threads": 0,
        "save_every": 60.0, "seed": 0, "device": "cpu",
    }  # fmt: skip
    small = train.HoldfastNet
    train.HoldfastNet = lambda: small((8, 8, 8, 8, 8), (1, 1, 1, 1))
    shapes, train.SHAPES = train.SHAPES, (((64, 32), 0.5), ((32, 64), 0.5))
    try:
        for steps in (2, 3):
            train.train(argparse.Namespace(steps=steps, **options))
    finally:
        train.HoldfastNet, train.SHAPES = small, shapes
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3 and state["progress"] == 1.0
    assert all(torch.isfinite(v).all() for v in state["average"].values())
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in entries] == [0, 2, 2, 3]
