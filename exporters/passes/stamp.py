"""The header of the file."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from exporters.source import ZOO_IR_VERSION

PRODUCER = "aimatrix"


def stamp(model: ir.Model) -> None:
    """Set producer and file format, and clear what would differ from machine to machine."""
    common.ClearMetadataAndDocStringPass()(model)
    model.ir_version = ZOO_IR_VERSION
    model.producer_name, model.producer_version = PRODUCER, None
    model.domain, model.model_version, model.doc_string = None, None, None
    model.metadata_props.clear()
    model.graph.name = "main"
    for graph in model.graphs():
        graph.doc_string = None
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
            value.doc_string = None
            value.metadata_props.clear()
    for node in model.graph.all_nodes():
        for output in node.outputs:
            output.doc_string = None
            output.metadata_props.clear()
