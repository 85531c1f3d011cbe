"""Cuts a graph into segments that run one after the other, each giving the values of a few tensors.

ONNX Runtime keeps whatever is an output until its run ends; of a segment, that is little. It optimises the
graph as a whole first, so that the segments hold the kernels of a plain run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common

from runtime.errors import UnavailableError

_BLOCKED = "com.microsoft.nchwc"
"""Operators on tensors whose channels ONNX Runtime keeps in blocks, as wide as the CPU's registers."""

_WIDEST_BLOCK = 16
"""Channels; tensors with a multiple of it have no padding, which would look like values."""

_ROOM = 4
"""A segment's observed tensors take at most as much as this number of the largest one."""


@dataclass(frozen=True)
class Segment:
    """A file, what it reads and what it makes, by the names that `observe` uses.

    observed: from the name of an observed tensor to the output that holds its values.
    passed:   outputs that later segments read.
    """

    path: Path
    inputs: tuple[str, ...]
    observed: Mapping[str, str]
    passed: tuple[str, ...]


def write_segments(
    model: ir.Model,
    observed: Mapping[str, int | None],
    any_order: frozenset[str],
    folder: Path,
    floor: int,
) -> list[Segment]:
    """Segments of `model` in the order to run them; raises UnavailableError without ONNX Runtime.

    observed:  tensors that nodes make, and their sizes in bytes where these are known.
    any_order: those whose values may come out of order, which saves rearranging them.
    floor:     bytes that a segment's observed tensors may take in any case.
    """
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    model.graph.outputs[:] = [values[name] for name in observed]
    ir.save(model, folder / "observed.onnx", external_data="observed.data")
    _optimise(folder / "observed.onnx", folder / "optimised.onnx")
    for name in ("observed.onnx", "observed.data"):
        (folder / name).unlink(missing_ok=True)  # before the disk is troubled with it
    fast = ir.load(folder / "optimised.onnx")
    sources = _sources(fast.graph, any_order)
    fast.graph.outputs[:] = list(dict.fromkeys(sources.values()))
    common.RemoveUnusedNodesPass()(fast)
    sizes = _known(observed)
    largest = max(sizes.values(), default=0)
    parts = list(_cut(fast.graph, sources, sizes, max(floor, _ROOM * largest)))
    return list(_written(fast, parts, sources, folder))


def open_segment(segment: Segment, threads: int) -> Any:
    """A session that runs `segment` as ONNX Runtime has optimised it; raises UnavailableError.

    threads: inside one run; several may go on at a time.
    """
    onnxruntime = _onnxruntime()
    entries = {"session.force_spinning_stop": "1", "session.use_env_allocators": "1"}
    _share_memory()
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(segment.path, entries, graph_optimization_level=level, intra_op_num_threads=threads)


@cache
def _share_memory() -> None:
    """One arena for all segments: each would keep the most it ever held, and theirs add up.

    It grows by what is asked for. One that doubles, as a session's own does, kept 0.61 GB after 8 images of
    ResNet50 and 0.68 after 512; this one 0.6 after both.
    """
    onnxruntime = _onnxruntime()
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1}))


def _open(path: Path, entries: Mapping[str, str], **options: Any) -> Any:
    onnxruntime = _onnxruntime()
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 3
    for entry, value in entries.items():
        chosen.add_session_config_entry(entry, value)
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnavailableError(
            "calibration runs the FP32 graph on onnxruntime, which is not installed;"
            " pip install '.[cpu]' in the clone"
        ) from error
    return onnxruntime


def _optimise(path: Path, out: Path) -> None:
    entries = {
        "session.optimized_model_external_initializers_file_name": f"{out.stem}.data",
        "session.disable_prepacking": "1",
    }
    _open(path, entries, optimized_model_filepath=str(out))


def _sources(graph: ir.Graph, any_order: frozenset[str]) -> dict[str, ir.Value]:
    """Observed tensor to the value that holds it: where it may, before its channels are put in order."""
    return {
        str(value.name): _unordered(value) if value.name in any_order else value for value in graph.outputs
    }


def _unordered(value: ir.Value) -> ir.Value:
    node = value.producer()
    if node is None or node.domain != _BLOCKED or node.op_type != "ReorderOutput":
        return value
    padded = node.attributes.get_int("channels", 1) % _WIDEST_BLOCK != 0
    blocked = node.inputs[0]
    return value if padded or blocked is None else blocked


def _known(observed: Mapping[str, int | None]) -> dict[str, int]:
    """A tensor of unknown size counts as the largest one."""
    largest = max((size for size in observed.values() if size is not None), default=1)
    return {name: largest if size is None else size for name, size in observed.items()}


def _cut(
    graph: ir.Graph, sources: Mapping[str, ir.Value], sizes: Mapping[str, int], room: int
) -> Iterator[list[ir.Node]]:
    """Consecutive nodes whose observed outputs fit into `room`, or make up one tensor that does not."""
    weights = {value: sizes[name] for name, value in sources.items()}
    part: list[ir.Node] = []
    held = 0
    for node, may_cut in zip(graph, _places(graph), strict=True):
        made = sum(weights.get(value, 0) for value in node.outputs)
        if part and made and held + made > room and may_cut:
            yield part
            part, held = [], 0
        part.append(node)
        held += made
    yield part


def _places(graph: ir.Graph) -> list[bool]:
    """For each node, whether all that is alive before it can be handed from one session to another."""
    last = {value: index for index, node in enumerate(graph) for value in _read(node)}
    change = [0] * (len(graph) + 1)
    for index, node in enumerate(graph):
        _type_blocked(node)
        for value in node.outputs:
            if not isinstance(value.type, ir.TensorType) and last.get(value, index) > index:
                change[index + 1] += 1
                change[last[value] + 1] -= 1
    return [stuck == 0 for stuck in accumulate(change[:-1])]


def _type_blocked(node: ir.Node) -> None:
    """ONNX Runtime writes no types of tensors in blocks; they are floats, and so is what is made of them."""
    if node.domain == _BLOCKED or any(
        value is not None and value.meta.get(_BLOCKED) for value in node.inputs
    ):
        for value in node.outputs:
            if value.type is None:
                value.dtype = ir.DataType.FLOAT
                value.meta[_BLOCKED] = True


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads of its graph, itself or in the graphs inside of it."""
    inside = (inner for attribute in node.attributes.values() for inner in _nodes_of(attribute))
    for reader in (node, *inside):
        yield from (value for value in reader.inputs if value is not None and value.graph is node.graph)


def _nodes_of(attribute: ir.Attr) -> Iterator[ir.Node]:
    if attribute.type == ir.AttributeType.GRAPH:
        yield from ir.traversal.RecursiveGraphIterator(attribute.as_graph())
    elif attribute.type == ir.AttributeType.GRAPHS:
        for graph in attribute.as_graphs():
            yield from ir.traversal.RecursiveGraphIterator(graph)


def _written(
    model: ir.Model, parts: Sequence[Sequence[ir.Node]], sources: Mapping[str, ir.Value], folder: Path
) -> Iterator[Segment]:
    """Each part as a file that reads its weights from the optimised graph's data file."""
    made_in = {value: index for index, part in enumerate(parts) for node in part for value in node.outputs}
    read_in: dict[ir.Value, set[int]] = {}
    for index, part in enumerate(parts):
        for value in (value for node in part for value in _read(node)):
            read_in.setdefault(value, set()).add(index)
    for index in range(len(parts)):
        # What optimisation has found to be constant is given by the first segment.
        observed = {name: value for name, value in sources.items() if made_in.get(value, 0) == index}
        passed = [v for v, made in made_in.items() if made == index and max(read_in.get(v, {0})) > index]
        inputs = [
            value
            for value, readers in read_in.items()
            if index in readers and made_in.get(value) != index and not value.is_initializer()
        ]
        outputs = list(dict.fromkeys([*observed.values(), *passed]))
        if outputs:
            path = folder / f"segment-{index}.onnx"
            _save(model, ir.convenience.extract(model.graph, inputs, outputs), path)
            yield Segment(path, _names(inputs), {n: str(v.name) for n, v in observed.items()}, _names(passed))


def _save(model: ir.Model, graph: ir.Graph, path: Path) -> None:
    ir.save(ir.Model(graph, ir_version=model.ir_version), path)


def _names(values: Sequence[ir.Value]) -> tuple[str, ...]:
    return tuple(str(value.name) for value in values)
