"""Memory of a graph, added up by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime import memory
from runtime.errors import UnsupportedError
from runtime.memory import MemoryEstimate, available_bytes, check_memory, estimate, estimate_of_feeds
from tests.exporters.graphs import parse

# 10 floats come in, 40 and 40 are there together, then 40 and 5; x is read again at the end
CHAIN = """g (float[batch,10] x) => (float[batch,5] y)
    { a = MatMul(x, wide) b = Relu(a) c = MatMul(b, narrow) d = MatMul(x, direct) y = Add(c, d) }"""
WEIGHTS = {
    "wide": np.ones((10, 40), np.float32),
    "narrow": np.ones((40, 5), np.float32),
    "direct": np.ones((10, 5), np.float32),
}


def test_what_is_alive_at_once_counts_and_weights_come_on_top() -> None:
    """The factors are what runtimes take on top of that."""
    found = estimate(parse(CHAIN, **WEIGHTS))
    weights, tensors = 4 * (400 + 200 + 50), 4 * (10 + 40 + 40)
    assert found == MemoryEstimate(round(2.5 * weights), round(1.3 * tensors))
    assert found.at(3) == 2.5 * weights + 3 * 1.3 * tensors


def test_a_graph_of_a_fixed_size_has_no_batch() -> None:
    found = estimate(parse(CHAIN.replace("batch", "2"), **WEIGHTS))
    assert (found.at(1), found.per_sample) == (2.5 * 2600 + 1.3 * 2 * 360, 0)


def test_feeds_of_any_size_are_counted_as_they_are() -> None:
    found = estimate_of_feeds(parse(CHAIN, **WEIGHTS), {"batch": 4}, 4)
    assert found == estimate(parse(CHAIN, **WEIGHTS))
    wider = CHAIN.replace("float[batch,10] x", "float[batch,steps,10] x").replace(
        "[batch,5]", "[batch,steps,5]"
    )
    assert (
        estimate_of_feeds(parse(wider, **WEIGHTS), {"batch": 4, "steps": 3}, 4).at(4) == 2.5 * 2600 + 12 * 468
    )


def test_the_largest_batch_is_the_last_that_fits() -> None:
    needs = MemoryEstimate(1000, 300)
    fits = needs.largest_batch(2000)
    assert needs.at(fits) <= 2000 < needs.at(fits + 1)
    assert needs.largest_batch(900) == 0
    assert needs + needs == MemoryEstimate(2000, 600)


def test_what_does_not_fit_is_refused_with_a_batch_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    gibibyte = 2**30
    needed = MemoryEstimate(gibibyte, 2 * gibibyte)
    monkeypatch.setattr(memory, "available_bytes", lambda: 8 * gibibyte)
    check_memory(needed, 3, "crnn fp32")
    message = (
        "crnn fp32 at batch 16 needs about 33.0 GiB of memory, 8.0 are available: a batch of 3 would fit"
    )
    with pytest.raises(UnsupportedError) as refused:
        check_memory(needed, 16, "crnn fp32")
    assert str(refused.value) == message
    monkeypatch.setattr(memory, "available_bytes", lambda: gibibyte)
    with pytest.raises(UnsupportedError, match="take a machine with more, or smaller inputs"):
        check_memory(needed, 1, "crnn fp32")


def test_a_control_group_can_allow_less_than_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit, use = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(memory, "_CGROUPS", ((str(tmp_path), limit.name, use.name),))
    whole = available_bytes()
    limit.write_text("max\n")
    use.write_text("1000\n")
    assert available_bytes() == pytest.approx(whole, rel=0.2)
    limit.write_text("5000\n")
    assert available_bytes() == 4000
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 700\nactive_file 50\n")
    assert available_bytes() == 4700
