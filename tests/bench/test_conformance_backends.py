"""The backends here fail no case of the ONNX project's but those their runtimes do (docs/results)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from bench.conformance_cases import load_cases
from bench.conformance_operators import run_cases
from bench.conformance_outcome import FAILURES
from runtime.backends import get_backend
from runtime.progress import silent

KNOWN: Mapping[str, Mapping[tuple[str, int], int]] = {
    "ort": {
        ("Attention", 23): 3,
        ("Attention", 24): 1,
        ("ConvInteger", 10): 1,
        ("DFT", 19): 5,
        ("DFT", 20): 5,
        ("MaxUnpool", 22): 1,
        ("ReduceMax", 20): 1,
        ("Resize", 19): 2,
        ("STFT", 17): 2,
    },
    "openvino": {
        ("Add", 6): 4,
        ("Attention", 23): 2,
        ("Attention, expanded", 23): 2,
        ("Attention, expanded", 24): 5,
        ("Attention, expanded", 25): 1,
        ("BitShift", 28): 9,
        ("Cast", 28): 2,
        ("DFT", 19): 5,
        ("DFT", 20): 5,
        ("DynamicQuantizeLinear", 11): 1,
        ("DynamicQuantizeLinear, expanded", 11): 1,
        ("MaxPool", 22): 1,
        ("NonMaxSuppression", 11): 1,
        ("ReduceMax", 20): 1,
        ("Resize", 19): 2,
        ("RoiAlign", 22): 1,
        ("Tile", 13): 1,
        ("TopK", 24): 3,
    },
    "reference": {("Range, expanded", 27): 4, ("Scan", 8): 1},
}
"""By operator and opset, of onnx 1.23.2, ONNX Runtime 1.32.0 and OpenVINO 2026.4.1."""


@pytest.mark.heavy
@pytest.mark.parametrize("name", KNOWN)
def test_nothing_fails_but_what_is_known_of_the_runtime(name: str) -> None:
    backend = get_backend(name)
    if backend.unavailable():
        pytest.skip(str(backend.unavailable()))
    outcomes = list(run_cases(backend, "cpu", load_cases(), 60, silent))
    failed = Counter((each.operator, each.opset) for each in outcomes if each.verdict in FAILURES)
    more = {key: count for key, count in failed.items() if count > KNOWN[name].get(key, 0)}
    assert more == {}, [f"{each.case}: {each.said}" for each in outcomes if each.verdict in FAILURES]
