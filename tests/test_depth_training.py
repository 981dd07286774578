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

    from models.training.train import centred_log, losses

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

    from models.training.train import after_alignment

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
def test_network_takes_any_multiple_of_64_and_knows_where_it_looks():
    import torch

    from models.training.network import Deployed, HoldfastNet, coordinates

    network = Deployed(HoldfastNet()).eval()
    for width, height in ((320, 192), (128, 192)):
        with torch.no_grad():
            disparity, confidence = network(torch.rand(1, 3, height, width))
        assert disparity.shape == confidence.shape == (1, 1, height // 4, width // 4)
        assert 0 <= float(confidence.min()) <= float(confidence.max()) <= 1
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

    from models.training.muon import optimisers_for
    from models.training.network import HoldfastNet
    from models.training.train import losses

    torch.manual_seed(0)
    network = HoldfastNet((8, 8, 16, 16, 16))
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
    assert train.learning_rate(5000, 0.0, 1.0) == 1.0 and train.learning_rate(5000, 1.0, 1.0) == pytest.approx(0.02)


def test_defocus_blurs_what_is_at_another_distance():
    from models.training.augment import defocus

    rgb = np.zeros((96, 160, 3), np.uint8)
    rgb[::4] = 255
    disparity = np.full((48, 80), 0.1, np.float32)
    disparity[:, 40:] = 1.0
    sharp = []
    for seed in range(8):
        result = defocus(np.random.default_rng(seed), rgb, disparity, chance=1.0).astype(float)
        left, right = result[:, 10:60].std(), result[:, 100:150].std()
        assert abs(left - right) > 10  # one side is in focus, the other is not
        sharp.append(left > right)
    assert any(sharp) and not all(sharp)
    assert defocus(np.random.default_rng(0), rgb, disparity, chance=0.0) is rgb
