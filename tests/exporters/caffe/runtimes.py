"""What other runtimes make of an exported graph: OpenVINO's answer, TensorRT-RTX's parser and builder."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from runtime.tensors import Array, Feed


def run_openvino(model: ir.Model, feed: Feed, folder: Path) -> dict[str, Array]:
    """The outputs in OpenVINO on the CPU, in float32 where it would choose bfloat16."""
    openvino = pytest.importorskip("openvino")
    path = folder / "graph.onnx"
    ir.save(model, path)
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = compiled(dict(feed))
    return {output.any_name: answers[output] for output in compiled.outputs}


def parse_with_tensorrt(model: ir.Model) -> None:
    """Fails where TensorRT-RTX's parser, which is TensorRT's, does not take the graph."""
    tensorrt = pytest.importorskip("tensorrt_rtx")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)  # NOTE: the parser does not keep it alive
    parser = tensorrt.OnnxParser(network, logger)
    taken = parser.parse(ir.to_proto(model).SerializeToString())
    assert taken, [parser.get_error(index).desc() for index in range(parser.num_errors)]


def build_with_tensorrt(model: ir.Model, folder: Path, **sizes: int) -> None:
    """Fails where TensorRT-RTX cannot build an engine of the graph."""
    pytest.importorskip("tensorrt_rtx")
    from runtime.trt_plan import build_plan

    path = folder / "graph.onnx"
    ir.save(model, path)
    assert build_plan(path, "tensorrt_rtx", sizes)
