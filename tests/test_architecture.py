"""Rules of the whole repository that a reader should be able to trust (DESIGN.md, STYLE.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "runtime": {"runtime"},
    "exporters": {"exporters", "runtime"},
    "model_zoo": {"model_zoo", "exporters", "runtime"},
    "calibration": {"calibration", "runtime"},
    "bench": {"bench", "model_zoo", "exporters", "calibration", "runtime"},
}
"""Imports go one way."""

OPTIONAL = (
    "cuda", "cv2", "grpc_tools", "jinja2", "onnxruntime", "openvino", "pycocotools", "pycuda", "pynvml",
    "sacrebleu", "scipy", "shapely", "tensorflow", "tensorrt", "tensorrt_rtx", "tf2onnx", "tokenizers",
)  # fmt: skip
"""Packages that only the function that needs them imports."""

GENERATED = {"exporters/caffe/caffe_pb2.py"}
MAX_LINES = 400
MAY_PRINT = {"bench/cli.py"}


def _modules() -> list[Path]:
    found = (path.relative_to(CLONE) for package in MAY_IMPORT for path in (CLONE / package).rglob("*.py"))
    return sorted(path for path in found if path.as_posix() not in GENERATED)


MODULES = _modules()
each_module = pytest.mark.parametrize("module", MODULES, ids=str)


def _tree(module: Path) -> ast.Module:
    return ast.parse((CLONE / module).read_text(encoding="utf-8"), str(module))


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level package of each import, wherever in the module it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name.partition(".")[0]) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def _names(modules: Iterable[Path]) -> dict[str, Path]:
    """As imports have them; a package is its `__init__`."""
    return {".".join(module.with_suffix("").parts).removesuffix(".__init__"): module for module in modules}


def _imported_of(module: Path, names: Mapping[str, Path]) -> set[str]:
    """Which of the modules `names` it imports, for type checkers alone or in a function too."""
    found: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found.update(full if full in names else node.module for full in inside.values())
    return found & set(names)


def _check_no_circle(names: Mapping[str, Path]) -> None:
    """Raises CycleError, which names the modules."""
    TopologicalSorter({name: _imported_of(module, names) for name, module in names.items()}).prepare()


def test_there_are_modules_in_every_package() -> None:
    assert {module.parts[0] for module in MODULES} == set(MAY_IMPORT)


@each_module
def test_imports_go_one_way(module: Path) -> None:
    allowed = MAY_IMPORT[module.parts[0]]
    wrong = [
        f"{module}:{line} imports {package}"
        for line, package in _imported(_tree(module))
        if package in MAY_IMPORT and package not in allowed
    ]
    assert wrong == []


def test_no_modules_import_each_other() -> None:
    """In a circle, none can be read first."""
    _check_no_circle(_names(MODULES))


def test_a_circle_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CLONE", tmp_path)
    (tmp_path / "runtime").mkdir()
    for name, other in (("one", "two"), ("two", "three")):
        (tmp_path / "runtime" / f"{name}.py").write_text(f"from runtime.{other} import x")
    third = tmp_path / "runtime" / "three.py"
    third.write_text("x = 1")
    names = _names(Path("runtime") / f"{name}.py" for name in ("one", "two", "three"))
    _check_no_circle(names)
    third.write_text("def f():\n    from runtime import one")
    with pytest.raises(CycleError, match=r"runtime\.one"):
        _check_no_circle(names)


@each_module
def test_no_module_imports_the_tests(module: Path) -> None:
    assert "tests" not in {package for _, package in _imported(_tree(module))}


@each_module
def test_no_file_is_longer_than_four_hundred_lines(module: Path) -> None:
    assert len((CLONE / module).read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@each_module
def test_only_the_command_line_prints_or_exits(module: Path) -> None:
    if module.as_posix() in MAY_PRINT:
        return
    wrong = [
        f"{module}:{node.lineno} calls {ast.unparse(node.func)}"
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"print", "sys.exit", "exit", "quit", "os._exit"}
    ]
    assert wrong == []


@each_module
def test_no_handler_catches_everything(module: Path) -> None:
    wrong = [
        f"{module}:{node.lineno}"
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]
    assert wrong == []


@each_module
def test_a_mistake_of_the_users_is_no_assertion(module: Path) -> None:
    assert [node.lineno for node in ast.walk(_tree(module)) if isinstance(node, ast.Assert)] == []


IMPORT_ALL = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            raise ImportError(f"{name} is blocked: import it inside the function that needs it")

OPTIONAL = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocker())
failed = []
for name in sys.argv[2].split(","):
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed.append(f"{name}: {error}")
print("\\n".join(failed), end="")
"""


def test_every_module_imports_where_no_optional_package_is_installed() -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(OPTIONAL), ",".join(_names(MODULES))],
        cwd=CLONE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("module", "rule"),
    [
        ("import bench.cli", test_imports_go_one_way),
        ("def f():\n    from calibration import write", test_imports_go_one_way),
        ("print('done')", test_only_the_command_line_prints_or_exits),
        ("import sys\nsys.exit(1)", test_only_the_command_line_prints_or_exits),
        ("try:\n    f()\nexcept Exception:\n    g()", test_no_handler_catches_everything),
        ("assert name", test_a_mistake_of_the_users_is_no_assertion),
        ("\n" * 401, test_no_file_is_longer_than_four_hundred_lines),
    ],
)
def test_a_broken_rule_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, rule: object
) -> None:
    (tmp_path / "exporters").mkdir()
    (tmp_path / "exporters" / "bad.py").write_text(module)
    monkeypatch.setattr(sys.modules[__name__], "CLONE", tmp_path)
    assert callable(rule)
    with pytest.raises(AssertionError):
        rule(Path("exporters/bad.py"))
