"""Trains the embedded network on rendered shards, on one GPU (or, slowly, a CPU), in resumable pieces.

    python -m models.training.train --shards DIR --validation KEPT_BACK --out RUN --steps 20000

RUN/checkpoint.pt is written every minute and picked up again by the same command; RUN/log.jsonl holds one line per report.
Learning rate follows the step count, so a resumed run ends like an uninterrupted one; with --until it follows the clock instead,
from where the checkpoint stood to its end at that moment, for a machine whose speed is not known beforehand. Shards that appear
in DIR while it runs are used as they come; with --take they are deleted once read, and generators beside it never stop.
"""

from __future__ import annotations

import argparse
import json
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from .augment import degrade
from .losses import WEIGHTS, losses
from .muon import optimisers_for
from .network import HoldfastNet
from .network_constants import MEAN, STD
from .store import SHAPES, PictureStore

REPORT_STEPS = 100
AVERAGE_STEPS = 8


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Warm-up over 300 steps, then half a cosine down to 1 % of the peak."""
    if step < 300:
        return peak * (step + 1) / 300
    return float(peak * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(progress, 1.0)))))


class Schedule:
    """How far the training is, 0 to 1: by its steps, or from where it resumed to a moment of the clock (seconds since 1970)."""

    def __init__(self, steps: int, until: float | None, resumed_at: float) -> None:
        """resumed_at: the progress that the checkpoint was saved at."""
        self.steps, self.until, self.resumed_at, self.started = steps, until, resumed_at, time.time()

    def progress(self, step: int) -> float:
        """At the given step, now."""
        if self.until is None:
            return min(step / self.steps, 1.0)
        passed = (time.time() - self.started) / max(self.until - self.started, 1.0)
        return min(self.resumed_at + (1.0 - self.resumed_at) * passed, 1.0)


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) in 0..1 as the network is fed."""
    return ((pictures - MEAN) / STD).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def validate(network: HoldfastNet, store: PictureStore, batches: int = 8, batch: int = 48) -> dict[str, float]:
    """The mean terms of the loss on fixed crops of pictures kept back, as rendered."""
    network.eval()
    generator = torch.Generator(store.device).manual_seed(7)
    totals: dict[str, float] = {}
    for k in range(batches):
        pictures, target = store.crops(generator, batch, SHAPES[k % 2][0], smallest=0.9)
        for name, term in losses(network(normalised(pictures)).float(), target).items():
            totals[name] = totals.get(name, 0.0) + float(term) / batches
    return {name: round(total, 4) for name, total in totals.items()}


class Run:
    """A network in training with its optimisers and the running average of its weights; saved and resumed as one."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.path = args.out / "checkpoint.pt"
        self.network = HoldfastNet().to(args.device, memory_format=torch.channels_last)
        self.average = deepcopy(self.network).eval()
        self.optimisers = optimisers_for(self.network, args.peak, args.optimiser == "muon")
        self.step, self.progress = 0, 0.0
        if self.path.exists():
            state = torch.load(self.path, map_location=args.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(saved)
            self.step, self.progress = state["step"], state["progress"]

    def save(self) -> None:
        """Whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "progress": self.progress,
        }
        torch.save(state, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").replace(self.path)

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the running average of the weights towards them, faster at the start."""
        keep = min(0.99, 1 - 10 / (10 + self.step / AVERAGE_STEPS))
        floats, others = [], []
        for a, b in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            (floats if a.dtype.is_floating_point else others).append((a, b))
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - keep)
        for a, b in others:
            a.copy_(b)


def warm_up(network: HoldfastNet, args: argparse.Namespace) -> None:
    """Every kind of work once, on a copy, while the first pictures are awaited: loading a GPU's libraries takes a while."""
    network = deepcopy(network).train()
    for (width, height), _ in SHAPES:
        pictures = torch.rand(args.batch, 3, height, width, device=args.device)
        target = torch.rand(args.batch, height // 2, width // 2, device=args.device)
        pictures = normalised(degrade(pictures, target, torch.Generator(args.device).manual_seed(0)))
        with torch.autocast(args.device.split(":")[0], torch.bfloat16):
            output = network(pictures)
        sum(losses(output.float(), target).values()).backward()


def train(args: argparse.Namespace) -> None:
    """The whole of it."""
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark_limit = 3
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    run = Run(args)
    store = PictureStore(args.shards, args.capacity, args.device, args.take)
    store.follow()
    if args.device != "cpu":
        warm_up(run.network, args)
    while store.count < args.first or (args.start_at and time.time() < args.start_at):
        if not store.receive():
            time.sleep(0.05)
    kept_back = PictureStore(args.validation, 2000, args.device).load_all() if args.validation else None
    schedule = Schedule(args.steps, args.until, args.resume_at if args.resume_at is not None else run.progress)

    def report(entry: dict) -> None:
        with open(args.out / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        print(entry, flush=True)

    options = {k: str(v) for k, v in vars(args).items() if not isinstance(v, Path)}
    parameters = sum(p.numel() for p in run.network.parameters())
    report({"start": options, "step": run.step, "parameters": parameters, "pictures": store.seen, "torch": torch.__version__})
    shapes, shares = [shape for shape, _ in SHAPES], np.array([share for _, share in SHAPES])
    sums: dict[str, torch.Tensor] = {}
    reported = saved = time.time()
    reported_step = run.step
    run.progress = schedule.progress(run.step)
    while run.progress < 1.0:
        # Every step has its own seed: a resumed run draws the same crops (from the same pictures).
        rng = np.random.default_rng([args.seed, run.step])
        generator = torch.Generator(args.device).manual_seed(int(rng.integers(2**62)))
        store.receive()
        with torch.no_grad():
            pictures, target = store.crops(generator, args.batch, shapes[rng.choice(len(shapes), p=shares)], args.smallest)
            pictures = normalised(degrade(pictures, target, generator, args.clean))
        rate = learning_rate(run.step, run.progress, args.peak)
        for group in (g for optimiser in run.optimisers for g in optimiser.param_groups):
            group["lr"] = rate
        run.network.train()
        torch.backends.cudnn.benchmark = True
        with torch.autocast(args.device.split(":")[0], torch.bfloat16):
            output = run.network(pictures)
        terms = losses(output.float(), target)
        loss = sum(WEIGHTS[name] * term for name, term in terms.items())
        run.network.zero_grad(set_to_none=True)
        loss.backward()
        torch.backends.cudnn.benchmark = False  # the shapes of random effects are too many to try ways for
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
        for optimiser in run.optimisers:
            optimiser.step()
        run.step += 1
        run.progress = schedule.progress(run.step)
        if run.step % AVERAGE_STEPS == 0 or run.progress >= 1.0:
            run.follow()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.detach()
        if run.step % REPORT_STEPS == 0 or run.progress >= 1.0:
            done = max(run.step - reported_step, 1)
            entry = {
                "step": run.step,
                **{n: round(float(s) / done, 4) for n, s in sums.items()},
                "pictures": store.seen,
                "s_per_step": round((time.time() - reported) / done, 4),
            }
            if kept_back and (run.step % (10 * REPORT_STEPS) == 0 or run.progress >= 1.0):
                entry["validation"] = validate(run.average, kept_back)
            report(entry)
            sums, reported, reported_step = {}, time.time(), run.step
        if run.progress >= 1.0 or time.time() - saved > args.save_every:
            run.save()
            saved = time.time()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--validation", type=Path, help="folder of shards kept back")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--until", type=float, help="end at this moment (seconds since 1970) instead of after --steps")
    parser.add_argument("--resume-at", type=float, help="progress 0..1 to resume at, instead of that of the checkpoint")
    parser.add_argument("--optimiser", choices=("adamw", "muon"), default="muon")
    parser.add_argument("--clean", type=float, default=0.1, help="share of pictures left as rendered")
    parser.add_argument("--smallest", type=float, default=0.55, help="the smallest crop, of what fits")
    parser.add_argument("--batch", type=int, default=128, help="pictures a step")
    parser.add_argument("--capacity", type=int, default=20000, help="pictures kept in memory at a time (0.37 MB each)")
    parser.add_argument("--first", type=int, default=1, help="pictures to wait for before the first step")
    parser.add_argument("--start-at", type=float, help="only read pictures until this moment (seconds since 1970)")
    parser.add_argument("--take", action="store_true", help="delete shards once they are read")
    parser.add_argument("--peak", type=float, default=2.5e-3, help="learning rate")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
