"""Reads what TensorRT's engine inspector tells of an engine's layers: which types they compute in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from runtime.attestation import UNSEEN, Ran

EVIDENCE = "tensorrt's engine inspector"

_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_TYPES = (
    ("int8", "int8"),
    ("fp8", "float8_e4m3fn"),
    ("bf16", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("fp16", "float16"),
    ("half", "float16"),
    ("fp32", "float32"),
    ("float", "float32"),
)
"""Word in a layer's "Format/Datatype" and the NumPy name; the first that is found counts.

Older versions write "Row major linear FP16 format", newer ones "Half".
"""


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


def _type(layer: dict[str, Any]) -> str:
    if "tf32" in str(layer.get("TacticName", "")).lower():
        return "tf32"
    read = [entry.get("Format/Datatype", "").lower() for entry in layer.get("Inputs", [])]
    return next((name for word, name in _TYPES if any(word in text for text in read)), UNSEEN)
