"""The manifest of a folder of graphs, in the store and in an exported bundle alike.

Schema versions
1  first version
2  of a graph: warnings, parity, unchecked, layers, parsers, memory, macs_by_type
3  of a graph: kept
Manifests of older versions are read as well: what they do not say is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.record import CalibrationFacts
from calibration.kept import Kept
from runtime.files import replacing_file
from runtime.tensors import TensorSpec

MANIFEST = "manifest.json"
SCHEMA_VERSION: Final = 3


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorFacts(_Part):
    """A TensorSpec as JSON."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @classmethod
    def from_spec(cls, spec: TensorSpec) -> Self:
        return cls(name=spec.name, dtype=spec.dtype, shape=spec.shape)


class DifferenceFacts(_Part):
    """The worst difference from the framework's values; `relative` is to the largest of them."""

    absolute: float
    relative: float


class OutputFacts(DifferenceFacts):
    """One output; of one whose rows depend on the data, also how many stand elsewhere or have no match."""

    tied: int = 0
    moved: int
    unmatched: int


class ParityFacts(_Part):
    """An exported graph beside its own framework: over `feeds` feeds, per output."""

    feeds: int
    outputs: dict[str, OutputFacts]


class BlobFacts(DifferenceFacts):
    """One blob of a Caffe network; `line` is where its layer stands in the prototxt, if that is known."""

    blob: str
    layer: str
    type: str
    line: int | None


class LayersFacts(_Part):
    """Every blob of a Caffe network beside OpenCV's: none differs by more than `tolerance`, relatively.

    feeds: one line: what the sample is made of.
    """

    blobs: int
    tolerance: float
    worst: BlobFacts
    feeds: str


class MemoryFacts(_Part):
    """About how many bytes the graph takes: at any batch size, and for each sample (runtime.memory)."""

    fixed: int
    per_sample: int


class KeptFacts(_Part):
    """A node that stays in float32, and what decided that: see calibration.kept."""

    node: str
    reason: str
    tensor: str | None = None
    minimum: float | None = None
    maximum: float | None = None

    @classmethod
    def from_kept(cls, kept: Kept) -> Self:
        return cls(
            node=kept.node,
            reason=kept.reason,
            tensor=kept.tensor,
            minimum=kept.minimum,
            maximum=kept.maximum,
        )


class GraphEntry(_Part):
    """One graph file.

    sha256:        of the graph, its external data included (runtime.graphs.graph_digest).
    parent_sha256: of the FP32 graph it was made from; None for that one.
    macs_by_type:  shares of the multiply-accumulates by the type the file has them in (runtime.written).
    files:         every file it is made of, and the SHA-256 of each file's bytes.
    warnings:      what the source's files say and the export leaves out.
    parity:        how far an exported graph is from its framework.
    unchecked:     why that was not found out, in whole or in part; None where it was.
    layers:        the same, blob by blob, where it was asked for.
    parsers:       TensorRT's ONNX parsers, by package and version: "parsed", or why not.
    kept:          of a graph at a lower precision: what stays in float32.
    """

    precision: str
    sha256: str
    parent_sha256: str | None
    opset: int
    macs: int
    macs_by_type: dict[str, float] = {}
    memory: MemoryFacts | None = None
    parameters: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    calibration: CalibrationFacts | None
    build_seconds: float
    provenance: dict[str, str]
    files: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    parity: ParityFacts | None = None
    unchecked: str | None = None
    layers: LayersFacts | None = None
    parsers: dict[str, str] = {}
    kept: tuple[KeptFacts, ...] = ()

    @classmethod
    def of_file(
        cls, path: Path, precision: str, build_seconds: float = 0.0, sizes: Mapping[str, int] | None = None
    ) -> Self:
        """The facts of a graph file that has no parent so far; raises GraphError.

        sizes: of open dimensions besides the batch, by name.
        """
        from runtime.graphs import inspect

        facts = inspect(path, sizes)
        return cls(
            precision=precision,
            sha256=facts.sha256,
            parent_sha256=None,
            opset=facts.opset,
            macs=facts.macs,
            macs_by_type=dict(facts.macs_by_type),
            memory=MemoryFacts(fixed=facts.memory.fixed, per_sample=facts.memory.per_sample),
            parameters=facts.parameters,
            inputs=tuple(map(TensorFacts.from_spec, facts.inputs)),
            outputs=tuple(map(TensorFacts.from_spec, facts.outputs)),
            calibration=None,
            build_seconds=build_seconds,
            provenance={},
        )


class Manifest(_Part):
    """A folder of graphs of one model; `identity` is what its key was made of."""

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    model: str
    variant: str
    framework: str
    identity: dict[str, str]
    graphs: dict[str, GraphEntry]

    def with_graph(self, name: str, entry: GraphEntry) -> Self:
        """A manifest that also holds `entry`, the last of its graphs: they stand in the order of writing."""
        others = {key: graph for key, graph in self.graphs.items() if key != name}
        changes = {"schema_version": SCHEMA_VERSION, "graphs": {**others, name: entry}}
        return self.model_copy(update=changes)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`; None where there is none, or none that can be understood."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Replace the manifest at `path` in one step; raises StoreError."""
    with replacing_file(path) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
