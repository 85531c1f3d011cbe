"""The ONNX project's tests of single operators, put to a backend."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.conformance_cases import Case, Trial, read_trial
from bench.conformance_compare import difference
from bench.conformance_outcome import Outcome, Verdict, verdict_of
from bench.conformance_run import Answer, Job, Runs, misattested
from runtime.backend import Backend, SessionOptions
from runtime.errors import GraphError, HarnessError
from runtime.graphs import load
from runtime.progress import Progress


def run_cases(
    backend: Backend, device: str, cases: Sequence[Case], limit_seconds: float, progress: Progress
) -> Iterator[Outcome]:
    """What becomes of each case, one after the other; a file and a process are there at a time."""
    with tempfile.TemporaryDirectory(prefix="aimatrix-conformance-") as folder, Runs(limit_seconds) as runs:
        for case in progress(cases, f"putting operators to {backend.name}", len(cases)):
            # Named after the case, since backends name the file in what they say.
            path = Path(folder) / f"{case.name}.onnx"
            yield _outcome(case, path, Job(backend, path, device, (), SessionOptions()), runs)
            path.unlink(missing_ok=True)


def _outcome(case: Case, path: Path, job: Job, runs: Runs) -> Outcome:
    begun = Outcome(case.name, case.suite, case.operator, case.opset, Verdict.PASS)
    trial = read_trial(case)
    reason = trial if isinstance(trial, str) else _unreadable(trial, path)
    if isinstance(trial, str) or reason is not None:
        return replace(begun, verdict=Verdict.NOT_APPLICABLE, said=str(reason))
    try:
        feeds = tuple(sample.feed for sample in trial.samples)
        found = runs.answer(case.name, replace(job, feeds=feeds))
    except HarnessError as error:
        verdict, said = verdict_of(error)
        return replace(begun, verdict=verdict, said=said.replace(str(path), path.name))
    return _judged(begun, case, trial, found)


def _unreadable(trial: Trial, path: Path) -> str | None:
    """Write the file; what onnx's own checker has against it, if anything."""
    path.write_bytes(trial.model.SerializeToString())
    try:
        load(path)
    except GraphError as error:
        return str(error).replace(str(path), path.name)
    return None


def _judged(begun: Outcome, case: Case, trial: Trial, found: Answer) -> Outcome:
    fault = misattested(found.executed)
    if fault is not None:
        return replace(begun, verdict=Verdict.WRONG, said=fault)
    for sample, outputs in zip(trial.samples, found.outputs, strict=True):
        wrong = difference(sample.expected, outputs, case.rtol, case.atol)
        if wrong is not None:
            return replace(begun, verdict=Verdict.WRONG, said=wrong.said, error=wrong.times_tolerance)
    return begun
