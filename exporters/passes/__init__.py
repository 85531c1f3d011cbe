"""Graph passes: each edits an `ir.Model` in place, knows no framework, and has a file of its own."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from exporters.passes.auto_pad import make_pads_explicit
from exporters.passes.batch_norm import fold_batch_norm
from exporters.passes.bidirectional import fuse_bidirectional
from exporters.passes.comparisons import compare_whole_numbers
from exporters.passes.constants import fold_constants
from exporters.passes.dead import remove_dead
from exporters.passes.duplicates import merge_duplicates
from exporters.passes.gelu import fuse_gelu
from exporters.passes.layer_norm import fuse_layer_norm
from exporters.passes.loop_invariants import capture_loop_invariants
from exporters.passes.names import fix_names
from exporters.passes.no_ops import remove_no_ops
from exporters.passes.one_hot import make_depth_a_scalar
from exporters.passes.order import sort
from exporters.passes.pads import fold_pads
from exporters.passes.reshapes import keep_open_dimension
from exporters.passes.shapes import infer_shapes
from exporters.passes.stamp import stamp
from exporters.passes.transposes import cancel_transposes
from exporters.source import ZOO_OPSET
from runtime.opset import at_opset, readable_opset

PASSES: tuple[Callable[[ir.Model], None], ...] = (
    # weights that a loop carries are weights only to what comes after
    capture_loop_invariants,
    # what is constant, so that the rest finds weights as initializers, and shapes known
    fold_constants,
    remove_no_ops,
    cancel_transposes,
    infer_shapes,
    keep_open_dimension,
    # explicit pads before Pads are added to them; a Pad gone before batch norm looks at its convolution
    make_pads_explicit,
    fold_pads,
    fold_batch_norm,
    fuse_layer_norm,
    fuse_gelu,
    fuse_bidirectional,
    make_depth_a_scalar,
    compare_whole_numbers,
    # after the last pass that leaves nodes and initializers behind
    merge_duplicates,
    remove_dead,
    # names are numbered in the order of nodes
    sort,
    fix_names,
    infer_shapes,
    stamp,
)


def optimise(model: ir.Model) -> ir.Model:
    """A copy of `model` at the zoo's opset, with PASSES applied in order; tensors are shared.

    (Or at an older one, where ONNX Runtime has no kernels in that one.)

    The opset comes first, so that every pass knows one version of each operator. Raises GraphError
    where an operator cannot be raised to it.
    """
    raised = at_opset(model.clone(), readable_opset(model, ZOO_OPSET))
    for run in PASSES:
        run(raised)
    return raised
