"""What the engine inspector's JSON says of layers, in the forms of TensorRT 8 to 11.

Texts of the older forms are from the engines that NVIDIA's trt-engine-explorer explains; that 11 has
"Format" and "DataType" is in its migration guide for the inspector's JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from runtime import trt_layers
from runtime.attestation import Ran


@pytest.mark.parametrize(
    ("layer", "ran"),
    [
        (
            {"Inputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}]},
            "int8",
        ),
        ({"Inputs": [{"Format/Datatype": "Int8"}, {"Format/Datatype": "Float"}]}, "int8"),
        ({"Inputs": [{"Format/Datatype": "BFloat16"}]}, "bfloat16"),
        ({"Inputs": [{"Format/Datatype": "FP8"}]}, "float8_e4m3fn"),
        ({"Inputs": [{"Format/Datatype": "Float"}]}, "float32"),
        ({"Inputs": [{"Format/Datatype": "Float"}], "TacticName": "sm80_xmma_gemm_tf32f32_tf32f32"}, "tf32"),
        ({"Inputs": [{"Format": "Row major linear FP32 format (kLINEAR)", "DataType": "Half"}]}, "float16"),
        ({"Inputs": [{"Format": "LINEAR", "DataType": "Int8"}]}, "int8"),
        ({"Inputs": [{"Format": "LINEAR", "DataType": "BF16"}]}, "bfloat16"),
        ({"Inputs": [{"Format": "LINEAR", "Datatype": "FP8"}]}, "float8_e4m3fn"),
        ({"Inputs": [{"DataType": "Float8E4M3"}]}, "float8_e4m3fn"),
        ({"Inputs": [{"Format": "LINEAR"}]}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_layers_type_is_what_it_reads(layer: Mapping[str, Any], ran: str) -> None:
    told = json.dumps({"Layers": [{**layer, "Metadata": "[ONNX Layer: n]"}]})
    assert trt_layers.where_nodes_ran(told, ["n", "other"]) == {"n": Ran(ran)}


@pytest.mark.parametrize("tensors", [{"Bindings": ["x", "y"]}, {"I/O Tensors": [{"Name": "x"}]}, {}])
def test_how_inputs_and_outputs_are_listed_does_not_matter(tensors: Mapping[str, Any]) -> None:
    layer = {"Inputs": [{"DataType": "Half"}], "Metadata": "[ONNX Layer: n]\u001f[ONNX Layer: m]"}
    told = json.dumps({"Layers": [layer], **tensors})
    assert trt_layers.where_nodes_ran(told, ["n", "m"]) == {"n": Ran("float16"), "m": Ran("float16")}


def test_a_plan_built_without_details_tells_nothing() -> None:
    assert trt_layers.where_nodes_ran('{"Layers": ["conv1 + relu1"]}', ["conv1"]) == {}
