"""GCN (Kipf and Welling 2017, "Semi-supervised classification with graph convolutional networks").

Two graph convolutions without bias: ReLU(A (X W0)), then A (H W1), with A = D^-1/2 (adjacency + I) D^-1/2 and
the rows of X divided by their sums (MODELS.md 17). One sample is a whole network of papers. ONNX has no
product of a sparse matrix: the graphs of this model say the sparse ones as dense, or entry by entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from runtime.tensors import TensorSpec

HIDDEN = 16

FIRST = "gcn/graphconvolution_1_vars/weights_0"
SECOND = "gcn/graphconvolution_2_vars/weights_0"
"""Names of the kernels, [words, hidden] and [hidden, classes], in the checkpoints of tkipf/gcn."""


class Form(StrEnum):
    """How the sparse matrices are said.

    DENSE:  both as matrices, mostly of zeros.
    EDGES:  A entry by entry: rows gathered, scaled, and added up where they belong.
    SPARSE: X in the same way, too, as the reference multiplies.
    """

    DENSE = "dense"
    EDGES = "edges"
    SPARSE = "sparse"


@dataclass(frozen=True)
class Gcn:
    """A GCN for one network of papers; `edges` and `words` are the entries of A and X that are not zero."""

    citations: str
    papers: int
    vocabulary: int
    classes: int
    edges: int
    words: int
    form: Form = Form.DENSE

    @property
    def parameters(self) -> int:
        return self.vocabulary * HIDDEN + HIDDEN * self.classes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of matrix products; what is gathered, scaled and added up is none."""
        dense_adjacency = self.papers**2 * (HIDDEN + self.classes) if self.form is Form.DENSE else 0
        dense_words = self.papers * self.vocabulary * HIDDEN if self.form is not Form.SPARSE else 0
        return dense_adjacency + dense_words + self.papers * HIDDEN * self.classes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors it learns."""
        return {FIRST: (self.vocabulary, HIDDEN), SECOND: (HIDDEN, self.classes)}

    def inputs(self) -> tuple[TensorSpec, ...]:
        """Of X and A: a matrix each, or places [entries, 2] of row and column and the values there."""
        words, links = _entries("features", "words"), _entries("adjacency", "edges")
        if self.form is not Form.SPARSE:
            words = (TensorSpec("features", "float32", ("batch", self.papers, self.vocabulary)),)
        if self.form is Form.DENSE:
            links = (TensorSpec("adjacency", "float32", ("batch", self.papers, self.papers)),)
        return words + links

    def sizes(self) -> Mapping[str, int]:
        """The open dimensions of `inputs` besides the batch."""
        known = {"edges": self.edges, "words": self.words}
        return {name: known[name] for spec in self.inputs() for name in spec.shape if name in known}


def _entries(matrix: str, dimension: str) -> tuple[TensorSpec, ...]:
    return (
        TensorSpec(f"{matrix}_places", "int32", ("batch", dimension, 2)),
        TensorSpec(f"{matrix}_values", "float32", ("batch", dimension)),
    )
