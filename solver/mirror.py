"""The mirror image of a reconstruction: near things far, far things near, and the camera travelling the other way.

With hardly any parallax both explain the tracks almost equally well (the two-fold ambiguity of affine views; Szeliski and Kang,
"Shape ambiguities in structure from motion", PAMI 1997), and a start may end in either one. Which is right shows when the other
is tried. Through a long lens the two can only be told apart near the right focal length: under one half as long the image that
is wrong may even fit better. Where no depth has led the start the right way, longer ones are tried along with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .bundle_model import rotation_exp
from .heats import LONG_LENS
from .initialise import lift_seen
from .lens_range import stretch
from .parallel import side_by_side
from .reconstruct import Model, State, adjust_state, classify
from .selfcheck import HeldOut, compare, measure
from .view import ShotView, World

NEAREST_SHARE = 0.1  # of the middle inverse depth; what would come out behind the farthest stays in front of the camera
FIRST_LOOK, ITERATIONS = 6, (19, 15)
HOPELESS = 5.0  # times the residuals of the image it was made from, at the first look
ROUGHER = 1.1  # times its residuals, from which an image only seems better by fitting what moves too
LONGER = (1.6, 2.6)  # times the focal length that was found
UNIT_SIGMAS = 0.25  # px for a state whose residuals are as large as the tracker says


def mirrored(world: World, frames: np.ndarray) -> World:
    """The world with inverse depths turned about their median, seen from the middle frame, and centres about that frame's."""
    out = world.copy()
    middle = int(frames[len(frames) // 2])
    known = np.nonzero(world.known)[0]
    q = world.points(known) @ world.rotation[middle].T + world.translation[middle]
    ahead = q[:, 2] > 1e-6
    known, q = known[ahead], q[ahead]
    inverse = 1 / q[:, 2]
    centre = float(np.median(inverse))
    turned = np.maximum(2 * centre - inverse, NEAREST_SHARE * centre)
    ray = np.concatenate([q[:, :2] * inverse[:, None], np.ones((len(q), 1))], 1)
    length = np.linalg.norm(ray, axis=1)
    eye = world.centre(middle)
    out.origin[known] = eye
    out.direction[known] = ray / length[:, None] @ world.rotation[middle]
    out.rho[known] = turned / length
    for f in np.nonzero(world.registered)[0]:
        offset = world.centre(int(f)) - eye
        # what the two paths shift everything by is made up for by turning
        sideways = world.rotation[middle] @ offset
        turn = 2 * centre * np.array([sideways[1], -sideways[0], 0.0])
        out.rotation[f] = world.rotation[f] @ world.rotation[middle].T @ rotation_exp(turn) @ world.rotation[middle]
        out.translation[f] = -out.rotation[f] @ (eye - offset)
    out.key_scale, out.key_shift = {}, {}  # aligned anew
    return out


def better_mirror(
    view: ShotView, state: State, model: Model, frames: np.ndarray, chosen: np.ndarray, jury: np.ndarray
) -> State | None:
    """The state's mirror image where that explains the jury's tracks (N,) bool better once it is adjusted alike.

    chosen (N,) bool: the tracks the state rests on. Without depth, an unknown lens that seems long is tried longer, both ways.
    """
    if not model.translation:
        return None
    middle = int(frames[len(frames) // 2])
    seems_long = np.exp(np.median(state.world.log_focal[frames])) > LONG_LENS * view.width
    longer = LONGER if model.focal_free and not model.focal_varies and seems_long and not model.depth else ()

    def tried(variant: tuple[float, bool]) -> State | None:
        factor, turned = variant
        world = stretch(state.world, factor, middle) if factor != 1 else state.world
        other = State(mirrored(world, frames) if turned else world, state.label.copy(), state.scale)
        if factor != 1:  # the scene first takes the shape that this lens asks for
            adjust_state(view, other, frames, chosen, replace(model, focal_free=False), iterations=FIRST_LOOK + ITERATIONS[0])
        adjust_state(view, other, frames, chosen, model, iterations=FIRST_LOOK)
        if other.scale > HOPELESS * state.scale:
            return None
        for iterations in ITERATIONS:
            adjust_state(view, other, frames, chosen, model, iterations=iterations)
            classify(view, other, frames, chosen, model)
        return other

    variants = [(1.0, True), *((factor, turned) for factor in longer for turned in (False, True))]
    others = [other for other in side_by_side(tried, variants) if other is not None]

    def judged(s: State) -> HeldOut:
        whole = s.world.copy()
        for f in frames:
            lift_seen(view, whole, int(f), jury, model.depth)
        return measure(view, State(whole, s.label, s.scale), frames, jury, True, UNIT_SIGMAS * state.scale)

    best, its = None, judged(state)
    for other in others:
        if other.scale > ROUGHER * state.scale:
            continue
        errors = judged(other)
        if compare(its, errors)[1] > 0:
            best, its = other, errors
    return best
