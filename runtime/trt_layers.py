"""Reads what TensorRT's engine inspector tells of an engine's layers: which types they compute in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from runtime.attestation import UNSEEN, Ran

EVIDENCE = "tensorrt's engine inspector"
OF_A_KEPT_PLAN = ", of a plan built before"

_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_TYPES = (
    ("int8", "int8"),
    ("fp8", "float8_e4m3fn"),
    ("e4m3", "float8_e4m3fn"),
    ("bf16", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("fp16", "float16"),
    ("half", "float16"),
    ("fp32", "float32"),
    ("float", "float32"),
)
"""Word in the type of what a layer reads and the NumPy name; the first that is found counts.

TensorRT 10 has "Format/Datatype", which is a text like "Row major linear FP16 format" or only "Half".
TensorRT 11 has "Format" and "DataType" instead (its migration guide), and RTX goes with 11.
"""

_TYPE_KEYS = ("Format/Datatype", "DataType", "Datatype")


def where_nodes_ran(inspector: str, nodes: Iterable[str]) -> dict[str, Ran]:
    """What became of the `nodes` of a graph, from the inspector's JSON at detailed verbosity.

    A fused layer lists the ONNX nodes it was made from in its metadata, and computes in the type it
    reads. Every layer runs on the device: TensorRT has no fallback.
    """
    wanted = set(nodes)
    ran: dict[str, Ran] = {}
    for layer in json.loads(inspector).get("Layers", []):
        if not isinstance(layer, dict):  # names only: the plan was built without details
            continue
        for node in wanted.intersection(_ORIGIN.findall(layer.get("Metadata", ""))):
            ran.setdefault(node, Ran(_type(layer)))
    return ran


def _type(layer: Mapping[str, Any]) -> str:
    if "tf32" in str(layer.get("TacticName", "")).lower():
        return "tf32"
    read = [_read(entry).lower() for entry in layer.get("Inputs", [])]
    return next((name for word, name in _TYPES if any(word in text for text in read)), UNSEEN)


def _read(tensor: Mapping[str, Any]) -> str:
    return next((str(tensor[key]) for key in _TYPE_KEYS if key in tensor), "")
