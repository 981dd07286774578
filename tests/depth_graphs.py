"""Tiny ONNX graphs with the interfaces of real depth networks, so that feeding and reading them can be tested exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# What the graph answers with: a weighted sum of the three channels it was fed. The weights tell the channels apart.
WEIGHTS = np.array([1.0, 10.0, 100.0], np.float32)


def write_graph(
    path: Path,
    *,
    layout: str = "NCHW",
    input_name: str = "image",
    output_name: str = "depth",
    size=("H", "W"),
    extras: dict[str, float] | None = None,
    offset: float = 0.0,
    scalar_inputs: tuple[str, ...] = (),
    points: bool = False,
    dtype: int = TensorProto.FLOAT,
    batch: int | str = 1,
) -> Path:
    """Writes a graph: depth = sum of weighted channels + offset; `extras` are further outputs with constant values.

    points: the depth output becomes (1, h, w, 3) with that sum as z and zeros as x and y.
    """
    height, width = size
    shape = {"NCHW": [batch, 3, height, width], "NHWC": [batch, height, width, 3], "NFCHW": [batch, "F", 3, height, width]}[
        layout
    ]
    axis = 3 if layout == "NHWC" else len(shape) - 3
    weight_shape = [1] * len(shape)
    weight_shape[axis] = 3
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    tensors = [
        numpy_helper.from_array(WEIGHTS.astype(kind).reshape(weight_shape), "weights"),
        numpy_helper.from_array(np.array(offset, kind), "offset"),
        numpy_helper.from_array(np.array([axis], np.int64), "axis"),
    ]
    nodes = [
        helper.make_node("Mul", [input_name, "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axis"], ["sum"], keepdims=0),
    ]
    current = "sum"
    for name in scalar_inputs:  # times zero: the graph needs the input, the result does not
        nodes += [
            helper.make_node("Cast", [name], [name + "_f"], to=dtype),
            helper.make_node("Mul", [name + "_f", "zero"], [name + "_0"]),
            helper.make_node("Add", [current, name + "_0"], [current + "_" + name]),
        ]
        current = current + "_" + name
        tensors.append(numpy_helper.from_array(np.array(0, kind), "zero"))
    if points:
        tensors.append(numpy_helper.from_array(np.array([0, 0, 1], kind), "z_only"))
        tensors.append(numpy_helper.from_array(np.array([-1], np.int64), "last"))
        nodes += [
            helper.make_node("Add", [current, "offset"], ["plane"]),
            helper.make_node("Unsqueeze", ["plane", "last"], ["column"]),
            helper.make_node("Mul", ["column", "z_only"], [output_name]),
        ]
    else:
        nodes.append(helper.make_node("Add", [current, "offset"], [output_name]))
    outputs = [helper.make_tensor_value_info(output_name, dtype, None)]
    for name, value in (extras or {}).items():
        tensors += [
            numpy_helper.from_array(np.array(value, kind), name + "_value"),
            numpy_helper.from_array(np.array(0, kind), name + "_zero"),
        ]
        if name in ("metric_scale", "focallength_px", "fov"):
            nodes.append(helper.make_node("Identity", [name + "_value"], [name]))
        else:
            nodes += [
                helper.make_node("Mul", ["sum", name + "_zero"], [name + "_flat"]),
                helper.make_node("Add", [name + "_flat", name + "_value"], [name]),
            ]
        outputs.append(helper.make_tensor_value_info(name, dtype, None))
    inputs = [helper.make_tensor_value_info(input_name, dtype, shape)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, []) for name in scalar_inputs]
    graph = helper.make_graph(nodes, "test", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
