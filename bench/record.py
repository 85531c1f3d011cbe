"""The record: one JSON document per measured cell, typed, with every raw sample.

Schema versions
1  first version
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.errors import StoreError, UsageError
from runtime.files import replacing_file

SCHEMA_VERSION: Final = 1

Share = float
"""A share of a whole, 0 to 1."""


class _Part(BaseModel):
    """Frozen, and a misspelt or unknown field is an error rather than lost."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CalibrationFacts(_Part):
    """Where the ranges of a quantised graph come from."""

    method: str
    samples: int
    feeds: str = Field(description="one line: what the samples are made of")
    feeds_digest: str
    synthetic: bool


class GraphRecord(_Part):
    """The graph that ran, and the FP32 graph it was made from (itself, for FP32)."""

    sha256: str
    fp32_sha256: str | None = Field(description="None for a quantised or half-precision file of the user's")
    opset: int
    macs: int = Field(description="multiply-accumulates of one sample")
    parameters: int = Field(
        description="learned ones of the source model; of a graph without a source, its constants"
    )
    calibration: CalibrationFacts | None


class LatencyRecord(_Part):
    """Nearest-rank percentiles of samples_ns, and the order-statistics interval of the median."""

    min: int
    mean: float
    p50: int
    p90: int
    p95: int
    p99: int
    p50_ci95: tuple[int, int]


class ThroughputRecord(_Part):
    """Samples completed over the wall window; the interval is from batch means, None if too few."""

    samples_per_second: float
    ci95: tuple[float, float] | None


class WarmUpRecord(_Part):
    """What ran before the first counted query."""

    queries: int
    wall_ns: int
    steady: bool


class CosineRecord(_Part):
    """Cosine between a sample's outputs and its FP32 outputs, over the samples."""

    mean: float
    min: float


class AccuracyRecord(_Part):
    """Agreement with the answers of a reference, sample by sample.

    reference: the FP32 graph, and where it ran; "the same backend" where it says no more.
    agreement: mean over samples of how far the answers are the same, 0 to 1; None where the task of a graph
        is unknown.
    cosine, sqnr_db: None where a signal or the noise is exactly zero (see max_abs_error), and with it where
        outputs cannot be subtracted, such as boxes.
    """

    reference: str = "fp32 graph on the same backend"
    samples: int
    agreement_name: str | None
    agreement: Share | None
    agreement_ci95: tuple[float, float] | None
    cosine: CosineRecord | None
    sqnr_db: float | None
    max_abs_error: float | None
    non_finite_samples: int = Field(description="samples with NaN or infinity in the outputs; never agree")
    feeds: str
    feeds_digest: str
    synthetic: bool


class ExecutedRecord(_Part):
    """The backend's attestation of what really ran (runtime.backend.Executed)."""

    on_device_macs: Share
    macs_by_type: dict[str, Share]
    on_device_nodes: Share = 1.0
    fallback_nodes: tuple[str, ...]
    lowering: str | None
    evidence: str
    settings: dict[str, str] = Field(
        default_factory=dict, description="what the runtime was told that changes its speed or arithmetic"
    )


class BuildRecord(_Part):
    """From the file to the first answer at the cell's batch size: opening, compiling, placing, one query.

    Opening is shared by the cells of one session and counted in each. The same span on every backend,
    whether it compiles when it opens a file or when it first sees a shape.
    """

    seconds: float
    peak_rss_bytes: int = Field(description="highest resident memory above what the process held before")
    device_bytes: int | None = Field(
        default=None, description="of the device's memory in use after the first query, beyond that before"
    )
    cached: bool | None = Field(
        default=None, description="whether the engine came from a cache; none where the backend keeps none"
    )
    engine_bytes: int | None = Field(default=None, description="of the engine, serialised")


class OptionsRecord(_Part):
    """Settings that change what was measured."""

    threads: int | None
    seed: int
    duration_ns: int
    weights_sha256: str | None


class EnvironmentRecord(_Part):
    """The machine and its software; names neither the host nor the user."""

    cpu: str
    cpu_features: tuple[str, ...]
    physical_cores: int | None
    usable_cores: int
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str]
    load_average: float | None = Field(description="over one minute, before measuring")
    governor: str | None
    on_battery: bool | None


class WarningRecord(_Part):
    """A kind out of bench.advice.Kind, what was seen, and what to do about it ("" if nothing)."""

    kind: str
    message: str
    advice: str


class Record(_Part):
    """One measured cell."""

    schema_version: Literal[1] = SCHEMA_VERSION
    recorded_at: str = Field(description="UTC, ISO 8601")
    harness: str
    model: str
    framework: str
    variant: str
    precision: str
    backend: str
    backend_version: str
    device: str
    device_description: str
    batch_size: int
    scenario: str
    boundary: str
    graph: GraphRecord
    latency_ns: LatencyRecord
    throughput: ThroughputRecord
    warm_up: WarmUpRecord
    wall_ns: int
    accuracy: AccuracyRecord | None
    executed: ExecutedRecord
    build: BuildRecord
    feeds: str
    options: OptionsRecord
    environment: EnvironmentRecord
    warnings: tuple[WarningRecord, ...]
    samples_ns: tuple[int, ...]

    @property
    def title(self) -> str:
        """The model with its variant, as a person names it."""
        return f"{self.model}-{self.variant}" if self.variant else self.model


def to_json(record: Record) -> str:
    """The document, indented, with the raw samples on one line at its end."""
    document = record.model_dump(mode="json")
    samples = json.dumps(document.pop("samples_ns"), separators=(",", ":"))
    head = json.dumps(document, indent=2).removesuffix("\n}")
    return f'{head},\n  "samples_ns": {samples}\n}}\n'


def check_folder(folder: Path) -> None:
    """Raise StoreError where `save` could not write; hours of measuring should not end with that."""
    with replacing_file(folder / ".writable") as temporary:
        temporary.touch()
    (folder / ".writable").unlink(missing_ok=True)


def save(record: Record, folder: Path) -> Path:
    """Write a record into `folder` under a name of its own; never over another; raises StoreError."""
    text = to_json(record).encode()
    cell = (record.title, record.framework, record.precision, record.backend, record.device)
    parts = (*cell, f"b{record.batch_size}", record.boundary, hashlib.sha256(text).hexdigest()[:8])
    path = folder / f"{'_'.join(part.replace('/', '-').replace(':', '') for part in parts)}.json"
    with replacing_file(path) as temporary:
        temporary.write_bytes(text)
    return path


def load(path: Path) -> Record:
    """Read one record back; raises StoreError (unreadable) or UsageError (not a record)."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read the record {path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise UsageError(
            f"{path} is not a record of schema version {SCHEMA_VERSION}: {where}: {first['msg']}"
            f" ({error.error_count()} problems); give a file written by `bench BACKEND --out DIR`"
        ) from error
