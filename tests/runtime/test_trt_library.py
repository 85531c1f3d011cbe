"""What is said where TensorRT is missing, or does not load, or makes no builder."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime import trt_library
from runtime.errors import UnavailableError
from runtime.trt_library import RTX, library, make_logger, missing


def test_without_a_driver_tensorrt_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cuda.missing", lambda: "no NVIDIA driver")
    monkeypatch.setattr(trt_library, "_not_importable", lambda flavour: pytest.fail("it was imported"))
    assert missing("tensorrt") == "no NVIDIA driver"
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        library("tensorrt")


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (None, "tensorrt is not installed: pip install '.[trt]' in the clone"),
        ("import tensorrt_bindings_that_are_missing", "tensorrt_bindings_that_are_missing is not installed"),
        (
            "raise ImportError('libnvinfer.so.11: cannot open\\nshared object file')",
            "tensorrt's libraries do not load (libnvinfer.so.11: cannot open shared object file): install",
        ),
        ("raise OSError('libnvinfer.so.11')", "tensorrt's libraries do not load (libnvinfer.so.11)"),
    ],
    ids=["package", "bindings", "library", "library by path"],
)
def test_what_is_missing_is_named_with_how_to_get_it(
    source: str | None, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cuda.missing", lambda: None)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    if source is None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
    else:
        (tmp_path / "tensorrt.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
    reason = missing("tensorrt")
    assert reason is not None
    assert match in reason
    assert "\n" not in reason


def test_rtx_needs_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cuda.missing", lambda: "no NVIDIA driver")
    monkeypatch.setitem(sys.modules, RTX, SimpleNamespace())
    assert missing(RTX) is None
    monkeypatch.setitem(sys.modules, RTX, None)
    assert missing(RTX) == "tensorrt_rtx is not installed: pip install '.[trt-rtx]' in the clone"


class _Logger:
    Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0, WARNING=2)


def test_a_library_without_a_builder_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """pybind11's answer where libnvinfer gives a null pointer: no resources for this GPU, say."""

    def builder(logger: object) -> None:
        logger.log(_Logger.Severity.WARNING, "slow")  # type: ignore[attr-defined]
        logger.log(_Logger.Severity.ERROR, "cannot open libnvinfer_builder_resource_sm90.so")  # type: ignore[attr-defined]
        raise TypeError("pybind11::init(): factory function returned nullptr")

    fake = SimpleNamespace(__name__="tensorrt", ILogger=_Logger, Builder=builder)
    monkeypatch.setattr("runtime.cuda.missing", lambda: None)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    with pytest.raises(
        UnavailableError, match="makes no builder: cannot open libnvinfer_builder_resource_sm90"
    ):
        library("tensorrt").builder()


def test_a_logger_keeps_the_last_messages_only() -> None:
    logger = make_logger(SimpleNamespace(ILogger=_Logger))
    assert logger.told() == "it gives no reason"
    for number in range(1000):
        logger.log(1, f"error\n{number}")
        logger.log(2, f"warning {number}")
        logger.log(3, "a message that nobody asked for")
    assert logger.told() == "error 999"
    assert len(logger.errors) == len(logger.warnings) == 100
