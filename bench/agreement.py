"""How close a graph's outputs are to FP32's, sample by sample; a stream, nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from bench import stats
from bench.record import AccuracyRecord, CosineRecord
from model_zoo.spec import FeedSource, Task
from runtime.errors import CheckFailed
from runtime.tensors import Array

Outputs = Mapping[str, Array]


class AgreementMeter:
    """Compares outputs with the FP32 outputs of the same feed, batch by batch.

    Cosine is per sample, over all its outputs together; SQNR is 10 log10 of the summed squares of
    FP32 over the summed squares of the difference, over all samples (Jain, Digital Image Processing).
    """

    def __init__(self, task: Task | None, reference: str) -> None:
        self._task = task
        self._reference = reference
        self._samples = 0
        self._agreeing = 0.0
        self._non_finite = 0
        self._signal = 0.0
        self._noise = 0.0
        self._largest = 0.0
        self._cosine_sum = 0.0
        self._cosine_count = 0
        self._cosine_min = math.inf

    def add(self, reference: Outputs, outputs: Outputs, batch_size: int) -> None:
        """Take in one batch; raises CheckFailed where names differ, or shapes that should be the same."""
        _check_alike(reference, outputs, shapes=self._task is None or self._task.numeric)
        if self._task is not None and not self._task.numeric:
            self._samples += batch_size
            self._agreeing += float(self._task.agreeing(reference, outputs, batch_size).sum())
            return
        want, got = _rows(reference, batch_size), _rows(outputs, batch_size)
        finite: Array = np.asarray(np.isfinite(got).all(axis=1))
        self._samples += len(want)
        self._non_finite += int(np.count_nonzero(~finite))
        if self._task is not None:
            same = self._task.agreeing(reference, outputs, batch_size)
            # Rows of samples and of answers differ only for graphs without a batch dimension.
            self._agreeing += float((same * finite if len(finite) == len(same) else same).sum())
        self._add_distances(want[finite], got[finite])

    def result(self, feeds: FeedSource) -> AccuracyRecord:
        """The record so far."""
        known = self._task is not None
        interval = stats.wilson(self._agreeing, self._samples)
        return AccuracyRecord(
            reference=self._reference,
            samples=self._samples,
            agreement_name=self._task.agreement if self._task else None,
            agreement=self._agreeing / self._samples if known and self._samples else None,
            agreement_ci95=(interval.low, interval.high) if known else None,
            cosine=self._cosine(),
            sqnr_db=10 * math.log10(self._signal / self._noise) if self._signal and self._noise else None,
            max_abs_error=self._largest if self._task is None or self._task.numeric else None,
            non_finite_samples=self._non_finite,
            feeds=feeds.origin,
            feeds_digest=feeds.digest,
            synthetic=feeds.synthetic,
        )

    def _add_distances(self, want: Array, got: Array) -> None:
        noise = want - got
        self._signal += float(np.vdot(want, want))
        self._noise += float(np.vdot(noise, noise))
        self._largest = max(self._largest, float(np.abs(noise).max(initial=0.0)))
        norms = np.linalg.norm(want, axis=1) * np.linalg.norm(got, axis=1)
        cosines = (want * got).sum(axis=1)[norms > 0] / norms[norms > 0]
        self._cosine_sum += float(cosines.sum())
        self._cosine_count += len(cosines)
        self._cosine_min = min(self._cosine_min, float(cosines.min(initial=math.inf)))

    def _cosine(self) -> CosineRecord | None:
        if not self._cosine_count:
            return None
        return CosineRecord(mean=self._cosine_sum / self._cosine_count, min=self._cosine_min)


def _check_alike(reference: Outputs, outputs: Outputs, *, shapes: bool) -> None:
    if set(reference) != set(outputs):
        raise CheckFailed(f"it answers with {sorted(outputs)}, the reference with {sorted(reference)}")
    for name, want in reference.items() if shapes else ():
        if outputs[name].shape != want.shape:
            raise CheckFailed(f"its output {name!r} is {outputs[name].shape}, the reference's {want.shape}")


def _rows(outputs: Outputs, batch_size: int) -> Array:
    """All outputs as float64 [samples, values]; one row where an output has no batch dimension."""
    arrays = [np.asarray(outputs[name]) for name in sorted(outputs)]
    batched = all(array.ndim and array.shape[0] == batch_size for array in arrays)
    rows = batch_size if batched else 1
    return np.concatenate([array.astype(np.float64).reshape(rows, -1) for array in arrays], axis=1)
