"""Records, manifests and tiny models for the tests of bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.record import Record

_RECORD: dict[str, Any] = {
    "recorded_at": "2026-11-25T02:41:17+00:00",
    "harness": "aimatrix 0.1.0",
    "model": "resnet50",
    "framework": "tensorflow",
    "variant": "",
    "precision": "fp32",
    "backend": "ort",
    "backend_version": "onnxruntime 1.32.0",
    "device": "cpu",
    "device_description": "a processor",
    "batch_size": 1,
    "scenario": "single-stream",
    "boundary": "device",
    "graph": {
        "sha256": "a" * 64,
        "fp32_sha256": "a" * 64,
        "opset": 22,
        "macs": 4_089_184_256,
        "parameters": 25_557_032,
        "calibration": None,
    },
    "latency_ns": {
        "min": 19_000_000,
        "mean": 20_500_000.0,
        "p50": 20_000_000,
        "p90": 21_000_000,
        "p95": 22_000_000,
        "p99": 25_000_000,
        "p50_ci95": [19_900_000, 20_100_000],
    },
    "throughput": {"samples_per_second": 48.7, "ci95": [48.0, 49.0]},
    "warm_up": {"queries": 15, "wall_ns": 310_000_000, "steady": True},
    "wall_ns": 60_000_000,
    "accuracy": None,
    "executed": {
        "on_device_macs": 1.0,
        "macs_by_type": {"float32": 1.0},
        "fallback_nodes": [],
        "lowering": None,
        "evidence": "profile of the first query",
    },
    "build": {"seconds": 0.4, "peak_rss_bytes": 500_000_000},
    "feeds": "photographs (skimage 0.25)",
    "options": {"threads": None, "seed": 0, "duration_ns": 10_000_000_000, "weights_sha256": None},
    "environment": {
        "cpu": "Imaginary CPU 9000",
        "cpu_features": ["avx2", "avx512_vnni"],
        "physical_cores": 2,
        "usable_cores": 2,
        "memory_bytes": 24 * 2**30,
        "system": "Linux 6.1 x86_64",
        "python": "3.11.2",
        "packages": {"onnxruntime": "1.32.0"},
        "load_average": 0.1,
        "governor": None,
        "on_battery": None,
    },
    "warnings": [],
    "samples_ns": [19_000_000, 20_000_000, 25_000_000],
}


def record(**changes: object) -> Record:
    """A plausible FP32 record with some fields changed."""
    return Record.model_validate({**_RECORD, **changes})


def accuracy(**changes: object) -> dict[str, Any]:
    """The accuracy part of an INT8 record, as JSON."""
    part: dict[str, Any] = {
        "samples": 64,
        "agreement_name": "top-1 agreement",
        "agreement": 63 / 64,
        "agreement_ci95": [0.917, 0.997],
        "cosine": {"mean": 0.9991, "min": 0.995},
        "sqnr_db": 27.3,
        "max_abs_error": 0.8,
        "non_finite_samples": 0,
        "feeds": "photographs (skimage 0.25)",
        "feeds_digest": "d",
        "synthetic": False,
    }
    return {**part, **changes}


def write_tiny_model(path: Path, *, batch: int | str = "batch", channels: int = 4) -> Path:
    """A sound ONNX file: images [batch, 3, 8, 8] -> Conv 3x3 -> Relu -> mean -> scores [batch, channels]."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(channels, 3, 3, 3)).astype(np.float32)
    bias = generator.normal(size=channels).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "weight", "bias"], ["features"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"], "relu"),
        helper.make_node("ReduceMean", ["active", "axes"], ["scores"], "mean", keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, channels])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
