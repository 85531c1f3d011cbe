"""Puts a measurement into a record: derives what is derived, names what is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean

from bench import advice, stats
from bench.advice import Warned
from bench.artefacts import Artefacts
from bench.environment import package_version
from bench.measure import Samples
from bench.opened import Measurement
from bench.plan import BenchPlan, Cell
from bench.record import (
    AccuracyRecord,
    BuildRecord,
    EnvironmentRecord,
    ExecutedRecord,
    GraphRecord,
    LatencyRecord,
    OptionsRecord,
    Record,
    ThroughputRecord,
    WarmUpRecord,
)
from bench.store import StoredGraph
from runtime.backend import Backend, Device, Executed


@dataclass(frozen=True)
class Measured:
    """All that was found out about one cell.

    attested: warnings of the attestation.
    """

    cell: Cell
    batch_size: int
    graph: StoredGraph
    build: BuildRecord
    executed: Executed
    attested: tuple[Warned, ...]
    accuracy: AccuracyRecord | None
    environment: EnvironmentRecord
    measurement: Measurement


def make_record(
    plan: BenchPlan, backend: Backend, device: Device, artefacts: Artefacts, measured: Measured
) -> Record:
    """The record of one cell."""
    identity = artefacts.subject.identity
    samples = measured.measurement.samples
    return Record(
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        harness=f"aimatrix {package_version('aimatrix') or 'from source'}",
        model=identity.model,
        framework=identity.framework,
        variant=identity.variant,
        precision=measured.cell.precision,
        backend=backend.name,
        backend_version=backend.version(),
        device=device.name,
        device_description=_described(device, plan.session.provider),
        batch_size=measured.batch_size,
        scenario=plan.scenario,
        boundary=plan.boundary,
        graph=_graph(measured.graph, artefacts),
        latency_ns=_latency(samples),
        throughput=_throughput(samples, measured.batch_size),
        warm_up=_warm_up(samples),
        wall_ns=samples.wall_ns,
        accuracy=measured.accuracy,
        executed=_executed(measured.executed),
        build=measured.build,
        feeds=artefacts.feeds.origin,
        options=_options(plan, artefacts),
        environment=measured.environment,
        warnings=tuple(warned.as_record() for warned in _warnings(measured, artefacts)),
        samples_ns=tuple(samples.samples_ns),
    )


def _described(device: Device, provider: str) -> str:
    return f"{device.description}, through {provider}" if provider else device.description


def _graph(graph: StoredGraph, artefacts: Artefacts) -> GraphRecord:
    entry = graph.entry
    return GraphRecord(
        sha256=entry.sha256,
        fp32_sha256=artefacts.fp32_sha256,
        opset=entry.opset,
        macs=entry.macs,
        parameters=entry.parameters,
        calibration=entry.calibration,
    )


def _latency(samples: Samples) -> LatencyRecord:
    latencies = samples.samples_ns
    return LatencyRecord(
        min=min(latencies),
        mean=fmean(latencies),
        p50=stats.percentile(latencies, 0.50),
        p90=stats.percentile(latencies, 0.90),
        p95=stats.percentile(latencies, 0.95),
        p99=stats.percentile(latencies, 0.99),
        p50_ci95=stats.median_interval(latencies),
    )


def _throughput(samples: Samples, batch_size: int) -> ThroughputRecord:
    rate, interval = stats.throughput(samples.starts_ns, samples.wall_ns, batch_size)
    return ThroughputRecord(
        samples_per_second=rate, ci95=(interval.low, interval.high) if interval is not None else None
    )


def _warm_up(samples: Samples) -> WarmUpRecord:
    warm_up = samples.warm_up
    return WarmUpRecord(queries=warm_up.queries, wall_ns=warm_up.wall_ns, steady=warm_up.steady)


def _executed(executed: Executed) -> ExecutedRecord:
    return ExecutedRecord(
        on_device_macs=executed.on_device_macs,
        on_device_nodes=executed.on_device_nodes,
        macs_by_type=dict(executed.macs_by_type),
        fallback_nodes=executed.fallback_nodes,
        lowering=executed.lowering,
        evidence=executed.evidence,
        settings=dict(executed.settings),
    )


def _options(plan: BenchPlan, artefacts: Artefacts) -> OptionsRecord:
    return OptionsRecord(
        threads=plan.session.threads,
        seed=plan.seed,
        duration_ns=plan.limits.duration_ns,
        weights_sha256=artefacts.subject.weights_sha256,
    )


def _warnings(measured: Measured, artefacts: Artefacts) -> Iterator[Warned]:
    yield from measured.attested
    yield from advice.about_export(artefacts.base.entry.unchecked)
    yield from advice.about_samples(measured.measurement.samples)
    queries = measured.measurement.samples.warm_up.queries + len(measured.measurement.samples.samples_ns)
    yield from advice.about_memory(measured.measurement.grown_bytes, queries)
    yield from advice.about_machine(measured.environment, measured.measurement.others)
    yield from advice.about_calibration(measured.graph.entry.calibration)
    yield from advice.about_accuracy(measured.accuracy)
