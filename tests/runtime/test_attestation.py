from __future__ import annotations

import pytest

from runtime.attestation import Circumstances, Ran, attest

MACS = {"conv1": 600, "conv2": 300, "classify": 100}
WHY = Circumstances("a test", fallback_nodes=("classify",), lowering="none")


def test_shares_are_weighed_by_multiply_accumulates() -> None:
    ran = {"conv1": Ran("int8"), "conv2": Ran("float32"), "classify": Ran("float32", on_device=False)}
    executed = attest(MACS, ran, WHY)
    assert executed.macs_by_type == pytest.approx({"int8": 0.6, "float32": 0.4})
    assert executed.on_device_macs == pytest.approx(0.9)
    assert (executed.fallback_nodes, executed.lowering, executed.evidence) == (
        ("classify",),
        "none",
        "a test",
    )


def test_what_the_runtime_does_not_mention_is_unknown_and_not_on_the_device() -> None:
    executed = attest(MACS, {"conv1": Ran("int8")}, Circumstances("a test"))
    assert executed.macs_by_type == pytest.approx({"int8": 0.6, "unknown": 0.4})
    assert executed.on_device_macs == pytest.approx(0.6)


def test_a_node_without_work_has_no_share() -> None:
    assert attest({"a": 0, "b": 5}, {"b": Ran("int8")}, WHY).macs_by_type == {"int8": 1.0}


@pytest.mark.parametrize(("fallback", "share"), [((), 1.0), (("gather",), 0.0)])
def test_a_graph_without_multiplications_is_on_the_device_unless_a_node_fell_back(
    fallback: tuple[str, ...], share: float
) -> None:
    executed = attest({}, {}, Circumstances("a test", fallback))
    assert (executed.macs_by_type, executed.on_device_macs) == ({}, share)
