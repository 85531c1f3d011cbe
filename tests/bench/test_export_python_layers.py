"""--python-layer: the example of the documentation, and every way in which a user's function can be wrong."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench import cli
from tests.bench.caffe_files import export, fp32, manifest, run, write_network
from tests.exporters.caffe.networks import caffemodel, values, vector

Capture = pytest.CaptureFixture[str]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-layers.md"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of the user's, whose modules are forgotten afterwards."""
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in ("mine", "my_export"):
        sys.modules.pop(name, None)


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_example_of_the_page_does_what_it_says() -> None:
    gate, weight, bias = vector(0.5, -1, 2), values(4, 192) / 8, values(4)
    Path("gated.prototxt").write_text(_block("prototxt"))
    Path("gated.caffemodel").write_bytes(caffemodel({"gate": [gate], "fc": [weight, bias]}))
    Path("my_export.py").write_text(_block("python"))
    program, *flags = shlex.split(_block("sh").replace("\\\n", ""))
    assert program == "bench"
    assert cli.main(flags) == 0
    data = values(2, 3, 8, 8, seed=7)
    expected = (data * gate.reshape(3, 1, 1) ** 2).reshape(2, -1) @ weight.T + bias
    np.testing.assert_allclose(run({"data": data})["fc"], expected, rtol=1e-5, atol=1e-5)


def test_the_page_names_what_the_builder_has() -> None:
    from exporters.caffe.builder import LayerBuilder

    named = set(re.findall(r"`build\.(\w+)", PAGE.read_text()))
    assert named
    assert {name for name in named if not hasattr(LayerBuilder, name)} == set()


def _python(name: str, class_name: str, bottom: str = "data") -> str:
    parameter = f'python_param {{ module: "rpn.mine" layer: "{class_name}" }}'
    return f'layer {{ name: "{name}" type: "Python" bottom: "{bottom}" top: "{name}" {parameter} }}\n'


TIMES = """
from exporters.caffe.shapes import dims
import numpy as np

def times(factor):
    def convert(build, bottoms):
        constant = build.constant("factor", np.array(factor, np.float32))
        return [build.node("Mul", [bottoms[0], constant], dims(bottoms[0]))]
    return convert

double, triple = times(2), times(3)
"""


def _mine(source: str = TIMES, layers: str = _python("a", "Double") + _python("b", "Other", "a")) -> None:
    Path("mine.py").write_text(source)
    write_network(layers, {}, 1, 2)


@pytest.mark.parametrize("name", ["rpn.mine.Double", "Double"])
def test_one_class_has_a_function_and_all_others_have_another(name: str) -> None:
    _mine()
    flags = ("--python-layer", f"{name}=mine:double", "--python-layer", "mine:triple")
    assert export(*flags, "--allow-unchecked") == 0
    np.testing.assert_array_equal(run({"data": vector(1, -2).reshape(1, 2)})["b"], [[6, -12]])
    assert manifest().identity["python layers"] == f"{name}=mine:double mine:triple"


def test_one_function_can_be_for_every_class() -> None:
    _mine()
    assert export("--python-layer", "mine:triple", "--allow-unchecked") == 0
    np.testing.assert_array_equal(run({"data": vector(1, -2).reshape(1, 2)})["b"], [[9, -18]])


def test_what_cannot_be_compared_is_refused_unless_that_is_allowed(capsys: Capture) -> None:
    _mine()
    flags = ("--python-layer", "mine:triple")
    assert export(*flags) == 2
    assert not Path("bundle").exists()
    told = capsys.readouterr().err.splitlines()[-1]
    assert 'of type "Python"' in told
    assert "`bench export --allow-unchecked` writes the graph all the same" in told
    assert export(*flags, "--allow-unchecked") == 0
    reason = fp32().unchecked
    assert reason is not None
    assert reason.startswith("not compared with its framework: OpenCV cannot run this Caffe network")
    assert fp32().parity is None
    assert f"warning: net (caffe): {reason}" in capsys.readouterr().err.splitlines()
    assert export(*flags) == 2, "an unchecked graph was taken from the store"


def test_a_measurement_of_a_bundle_says_that_it_was_compared_with_nothing(capsys: Capture) -> None:
    _mine()
    assert export("--python-layer", "mine:triple", "--allow-unchecked") == 0
    capsys.readouterr()
    assert cli.main(["null", "--model", "bundle", "--duration", "0.1", "--evaluation-samples", "0"]) == 0
    assert "warning: net (caffe): not compared with its framework: OpenCV" in capsys.readouterr().err


def test_a_function_that_was_changed_is_used_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    _mine()
    flags = ("--python-layer", "mine:triple", "--allow-unchecked")
    assert export(*flags) == 0
    monkeypatch.delitem(sys.modules, "mine")
    _mine(TIMES.replace("times(3)", "times(5)"))
    assert export(*flags) == 0
    np.testing.assert_array_equal(run({"data": vector(1, 0).reshape(1, 2)})["b"], [[25, 0]])


def test_a_python_layer_without_a_function_is_named_with_the_flag_for_it(capsys: Capture) -> None:
    _mine()
    assert export("--python-layer", "Double=mine:double", "--allow-unchecked") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "line 2: layer 'b' (Python) runs rpn.mine.Other" in told
    assert "--python-layer module:function" in told


def _wrong(body: str) -> str:
    return f"{TIMES}\nclass Loss(Exception): ...\n\ndef wrong(build, bottoms):\n    {body}\n"


WRONG_FUNCTIONS = {
    "raises": (
        "return [1 / 0]",
        r"mine:wrong failed: ZeroDivisionError: division by zero \(.*mine\.py, line 16",
    ),
    "raises its own": ("raise Loss('of\\nit')", r"mine:wrong failed: Loss: of it \(.*mine\.py, line 16\)"),
    "leaves": ("raise SystemExit(0)", "mine:wrong failed: SystemExit: 0"),
    "misuses the builder": ("return [build.nod('Relu')]", "AttributeError: .*no attribute 'nod'.* line 16"),
    "says no": ("raise build.error('not today')", r"layer 'a' \(Python\): not today$"),
    "returns nothing": ("pass", "mine:wrong returned NoneType; a list of what build.node"),
    "returns a value": ("return bottoms[0]", "mine:wrong returned Value; a list"),
    "returns arrays": ("return [np.zeros(2)]", "mine:wrong returned list of ndarray; a list"),
    "returns too much": ("return [bottoms[0]] * 2", "mine:wrong returned 2 values for 1 tops"),
    "returns whole numbers": (
        "import onnx_ir as ir; return [build.node('Cast', bottoms, (1,), {'to': 7}, ir.DataType.INT64)]",
        "returned for top 0 a value of type INT64 and shape .*a blob is FLOAT",
    ),
    "says a wrong shape": (
        "return [build.node('Relu', bottoms, ('batch', 5))]",
        r"not valid ONNX: .*node name: a\): .*differ in dimension 1: \(2\) vs \(5\)",
    ),
    "uses an operator that does not exist": (
        "return [build.node('Relu7', bottoms, dims(bottoms[0]))]",
        "not valid ONNX: .*Relu7",
    ),
}


@pytest.mark.parametrize("case", WRONG_FUNCTIONS)
def test_a_function_that_is_wrong_is_told_in_one_line(
    case: str, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    body, message = WRONG_FUNCTIONS[case]
    _mine(_wrong(body), _python("a", "Double"))
    assert export("--python-layer", "mine:wrong", "--allow-unchecked") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"^error: .*{message}", last), last
    assert not caplog.records  # where nobody catches them they are lines of standard error
    assert not Path("bundle").exists()


BAD_VALUES = {
    "no function": ("mine", "give MODULE:FUNCTION, or CLASS=MODULE:FUNCTION"),
    "an empty class": ("=mine:double", "give MODULE:FUNCTION"),
    "an expression": ("mine:times(2)", "give MODULE:FUNCTION"),
    "no such module": (
        "mein:double",
        "cannot import mein: ModuleNotFoundError: No module named 'mein'; give a module that",
    ),
    "no such name": ("mine:duoble", r"mine\.py has no 'duoble'; did you mean double\?"),
    "no function but a number": ("mine:LIMIT", r"LIMIT of .*mine\.py is int, not a function"),
    "no such class": (
        "Single=mine:double",
        "unknown Python layer of this network 'Single': .*rpn.mine.Double",
    ),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_a_value_that_means_nothing_is_told_in_one_line(case: str, capsys: Capture) -> None:
    value, message = BAD_VALUES[case]
    _mine(f"{TIMES}LIMIT = 3\n")
    assert export("--python-layer", value, "--allow-unchecked") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"^error: .*{message}", last), last


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def broken(:", r"SyntaxError: .*mine\.py, line 1\)"),
        ("import not_there", r"No module named 'not_there' \(.*mine\.py, line 1\)"),
        ("x = 1\nx.y", r"AttributeError: .* \(.*mine\.py, line 2\)"),
        ("import sys\nsys.exit('bye')", r"SystemExit: bye \(.*mine\.py, line 2\)"),
    ],
    ids=["no Python", "a package is missing", "raises", "leaves"],
)
def test_a_module_that_does_not_import_is_told_in_one_line(
    source: str, message: str, capsys: Capture
) -> None:
    _mine(source)
    assert export("--python-layer", "mine:double") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"^error: --python-layer mine:double: cannot import mine: .*{message}", last), last


@pytest.mark.parametrize("name", ["", "Double="])
def test_two_functions_for_one_class_are_refused(name: str, capsys: Capture) -> None:
    _mine()
    assert export("--python-layer", f"{name}mine:double", "--python-layer", f"{name}mine:triple") == 2
    assert f"--python-layer {name}mine:triple is the second function for" in capsys.readouterr().err


def test_a_function_that_no_layer_is_left_for_is_refused(capsys: Capture) -> None:
    _mine(layers=_python("a", "Double"))
    flags = ("--python-layer", "Double=mine:double", "--python-layer", "mine:triple")
    assert export(*flags, "--allow-unchecked") == 2
    assert "no Python layer of this network is left for mine:times" in capsys.readouterr().err
