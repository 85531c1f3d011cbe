"""What calibration finds out about a tensor, and the INT8 scale that follows from it.

Pure arithmetic and JSON; no graph is opened here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from runtime.errors import CalibrationError
from runtime.files import replacing_file
from runtime.tensors import Array

SCHEMA_VERSION = 2
"""1: method, samples, graph, feeds, ranges as [minimum, maximum, amax].
2: also provenance and digest; files of version 1 are read as well."""

INT8_MIN, INT8_MAX = -128, 127
"""What QuantizeLinear saturates at. Weights leave -128 unused."""

_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Below it a scale would be a subnormal float32, which some devices flush to zero."""


def symmetric_scale(amax: Array | float, greatest: float = INT8_MAX) -> Array:
    """float32 scale(s) that put -amax..amax on -greatest..greatest; 1 where nothing but zeros was seen.

    Zeros are exact at any scale, and a scale of 0 would make them NaN.
    """
    wide = np.asarray(amax, np.float64)
    return np.where(wide < greatest * _SMALLEST_SCALE, 1.0, wide / greatest).astype(np.float32)


@dataclass(frozen=True)
class Range:
    """Least and greatest value seen, and `amax`: the magnitude beyond which values are clipped at most."""

    minimum: float
    maximum: float
    amax: float

    @property
    def scale(self) -> float:
        """One step of INT8, which has one more of them below 0 than above; exactly a float32."""
        below, above = (min(max(end, 0.0), self.amax) for end in (-self.minimum, self.maximum))
        return float(symmetric_scale(max(above, below * (INT8_MAX / -INT8_MIN))))

    def union(self, other: Range) -> Range:
        """The range of tensors that have to share a scale."""
        return Range(
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            max(self.amax, other.amax),
        )


@dataclass(frozen=True)
class Ranges:
    """The ranges of one graph's tensors, and where they come from.

    graph: digest of the FP32 file they belong to (runtime.graphs.graph_digest).
    feeds: digest of the samples and their preprocessing, as the caller gave it ("" if not given).
    provenance: facts besides these that the ranges depend on, such as versions; empty if not given.
    """

    tensors: Mapping[str, Range]
    method: str
    samples: int
    graph: str
    feeds: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)

    def of(self, tensor: str) -> Range:
        """Raises CalibrationError for a tensor that was not observed."""
        if tensor not in self.tensors:
            raise CalibrationError(
                f"no range for tensor {tensor!r} among the {len(self.tensors)} calibrated ones;"
                " calibrate this graph again"
            )
        return self.tensors[tensor]

    def with_origin(self, feeds: str, provenance: Mapping[str, str]) -> Ranges:
        """The same ranges, said to come from feeds of that digest, and from these facts."""
        return replace(self, feeds=feeds, provenance=dict(provenance))

    @property
    def digest(self) -> str:
        """SHA-256 over everything: of what `save` writes."""
        return _digest(self._document())

    def save(self, path: Path) -> None:
        """Write as JSON; raises StoreError."""
        document = self._document()
        document["digest"] = _digest(document)
        with replacing_file(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def _document(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "samples": self.samples,
            "graph": self.graph,
            "feeds": self.feeds,
            "provenance": dict(self.provenance),
            "ranges": {n: [r.minimum, r.maximum, r.amax] for n, r in self.tensors.items()},
        }

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, bit for bit; raises CalibrationError for anything else."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return cls._from_document(document)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CalibrationError(
                f"{path} is not a sound file of calibrated ranges ({type(error).__name__}: {error});"
                " calibrate again"
            ) from error

    @classmethod
    def _from_document(cls, document: Mapping[str, Any]) -> Self:
        if document["schema_version"] not in (1, SCHEMA_VERSION):
            raise ValueError(f"schema_version is {document['schema_version']}, not {SCHEMA_VERSION}")
        stated = document.get("digest")
        if stated not in (None, _digest({n: v for n, v in document.items() if n != "digest"})):
            raise ValueError("it is damaged, or edited and still has its old digest")
        tensors = {str(n): Range(*map(_finite, triple)) for n, triple in document["ranges"].items()}
        return cls(
            tensors,
            str(document["method"]),
            int(document["samples"]),
            str(document["graph"]),
            str(document["feeds"]),
            {str(name): str(fact) for name, fact in document.get("provenance", {}).items()},
        )


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _finite(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"a range holds {value}")
    return number
