"""Writes a network as ONNX: `python -m models.training.export --checkpoint RUN/checkpoint.pt --validation DIR --out FILE`.

The running average of the weights is exported, with weights stored as float16 (computed in float32) to keep the file small.
The predicted error scale is calibrated on the kept-back pictures first: one number, so that confidence means what it says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from .augment import degrade
from .losses import centred_log, up_to_scale
from .network import Deployed, HoldfastNet
from .network_constants import CONFIDENCE_TOLERANCE
from .store import PictureStore
from .train import normalised

DEPLOYED_SIZES = ((384, 224), (320, 256))  # what wide and squarer clips are fed at (registry.json)


@torch.no_grad()
def calibrate(deployed: Deployed, store: PictureStore, batches: int = 18) -> tuple[float, dict[str, float]]:
    """(factor on the error scale that makes confidence true on average, figures on kept-back pictures)."""
    generator = torch.Generator().manual_seed(11)
    scales, errors, means = [], [], []
    for k in range(batches):
        pictures, target = store.crops(generator, 8, DEPLOYED_SIZES[k % 2], smallest=0.85)
        if k % 3:  # two thirds as cameras would show them
            pictures = degrade(pictures, target, generator)
        log, scale = deployed.log_disparity(normalised(pictures))
        truth = centred_log(target)
        error = up_to_scale(log[:, 0] - truth).abs()
        means.append(float(error.mean()))
        keep = truth > -2.9  # not the sky, whose distance is a convention
        scales.append(scale[:, 0][keep])
        errors.append(error[keep])
    scale, within = torch.cat(scales), (torch.cat(errors) < CONFIDENCE_TOLERANCE).float().mean()
    low, high = 0.2, 5.0
    for _ in range(40):  # the larger the factor, the smaller the mean confidence
        gain = (low * high) ** 0.5
        confident = (1 - torch.exp(-CONFIDENCE_TOLERANCE / (scale * gain))).mean()
        low, high = (gain, high) if confident > within else (low, gain)
    return gain, {"kept_back_log_error": round(float(np.mean(means)), 4), "within_tolerance": round(float(within), 4)}


def store_as_half(model: onnx.ModelProto) -> None:
    """Turns big float32 weights into float16 followed by a Cast, which ONNX Runtime folds away when it loads the file."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < 256:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + "_half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--twice", action="store_true", help="look a second time in a mirror: twice the time, a little better")
    args = parser.parse_args()
    torch.set_num_threads(2)
    state = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    network = HoldfastNet()
    network.load_state_dict(state["average"])
    network.eval()
    deployed = Deployed(network, twice=args.twice).eval()
    gain, figures = calibrate(deployed, PictureStore(args.validation, 2000, "cpu").load_all())
    deployed.error_gain = gain
    partial = args.out.with_suffix(".part")
    torch.onnx.export(
        deployed,
        (torch.zeros(1, 3, 224, 384),),
        str(partial),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=["disparity", "confidence"],
        dynamic_axes={
            "image": {0: "batch", 2: "height", 3: "width"},
            "disparity": {0: "batch", 2: "half_height", 3: "half_width"},
            "confidence": {0: "batch", 2: "half_height", 3: "half_width"},
        },
    )
    model = onnx.load(str(partial))
    store_as_half(model)
    model.producer_name, model.producer_version, model.doc_string = "holdfast", "", f"holdfast-small, {state['step']} steps"
    onnx.checker.check_model(model)
    onnx.save(model, str(partial))
    partial.replace(args.out)
    print({"step": state["step"], "error_gain": round(gain, 4), **figures, "bytes": args.out.stat().st_size})


if __name__ == "__main__":
    main()
