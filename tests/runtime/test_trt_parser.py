"""TensorRT's ONNX parser in a process of its own: what it says, and what is said where it says nothing."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from runtime import trt_parser
from runtime.trt_parser import PARSED, ask
from tests.models import MODELS
from tests.runtime.test_trt_plan import DYNAMIC, HEADER, UINT8

RTX = "tensorrt_rtx"


@pytest.fixture
def version() -> str:
    return str(pytest.importorskip(RTX).__version__)


@pytest.mark.parametrize("name", ["conv_chain", "fp16_conv", "bf16_conv"])
def test_a_graph_is_parsed_by_the_version_that_is_named(name: str, version: str, tmp_path: Path) -> None:
    assert ask(MODELS[name].write(tmp_path), RTX) == (f"{RTX} {version}", PARSED)


def test_external_data_is_found(version: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    ir.save(MODELS["conv_chain"].build(), path, external_data="weights.bin", size_threshold_bytes=1)
    assert ask(path, RTX) == (f"{RTX} {version}", PARSED)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (DYNAMIC, "node 'dynamic' (DynamicQuantizeLinear): "),
        (UINT8, "Non-zero zero point is not supported"),
    ],
    ids=["dynamic quantisation", "uint8"],
)
def test_a_graph_that_is_not_taken_has_a_reason_in_one_line(
    body: str, reason: str, version: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    ir.save(ir.from_onnx_text(f"{HEADER} g {body}"), path)
    found = ask(path, RTX)
    assert found is not None
    assert found[0] == f"{RTX} {version}"
    assert reason in found[1]
    assert "\n" not in found[1]


@pytest.mark.usefixtures("version")
def test_a_folder_called_as_ours_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    found = ask(MODELS["conv_chain"].write(tmp_path), RTX)
    assert found is not None
    assert found[1] == PARSED


def _package(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A tensorrt_rtx in the way of the real one, in the other process."""
    (folder / f"{RTX}.py").write_text(f"__version__ = '9.9'\nimport os, signal, time\n{body}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


CRASH = "class ILogger:\n  def __init__(self):\n    os.kill(os.getpid(), signal.SIGSEGV)"
LEAVE = "class ILogger:\n  def __init__(self):\n    os._exit(7)"
WAIT = "class ILogger:\n  def __init__(self):\n    time.sleep(60)"
NO_BUILDER = """
class ILogger:
  class Severity: ERROR = INTERNAL_ERROR = WARNING = 1
def Builder(logger): raise TypeError('null')"""


@pytest.mark.parametrize(
    ("body", "limit", "expected"),
    [
        (CRASH, 60.0, (f"{RTX} 9.9", "the parser crashed (signal 11)")),
        (LEAVE, 60.0, (f"{RTX} 9.9", "the parser ended with exit code 7 and no answer")),
        (WAIT, 3.0, (f"{RTX} 9.9", "the parser gave no answer within 3 s")),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 60.0, (RTX, "the parser crashed (signal 11)")),
        ("raise OSError('libnvinfer.so')", 60.0, None),
        (NO_BUILDER, 60.0, None),
    ],
    ids=["crashes", "leaves", "hangs", "crashes on import", "does not load", "has no builder"],
)
def test_a_parser_that_does_not_answer_ends_nothing_but_itself(
    body: str,
    limit: float,
    expected: tuple[str, str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _package(tmp_path, monkeypatch, body)
    assert ask(MODELS["conv_chain"].write(tmp_path), RTX, limit) == expected


def test_a_process_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    found = ask(tmp_path, RTX)
    assert found == (RTX, "the parser could not be started: No such file or directory")


def test_only_packages_that_are_there_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tensorrt" or None)
    assert trt_parser.installed() == ("tensorrt",)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert trt_parser.installed() == ()
