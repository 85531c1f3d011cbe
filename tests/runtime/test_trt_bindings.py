"""Every name of TensorRT and CUDA that our modules use, against the real bindings.

What is used is told twice: by our source, read as a syntax tree, and by a table; both must agree, so that
neither forgets anything. Then the bindings are asked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import trt_engine
from tests.runtime.real_bindings import BINDINGS, ask

RUNTIME = Path(trt_engine.__file__).parent
TENSORRT = [name for name in BINDINGS if "tensorrt" in name]
VALUE = None
"""Instead of a number of arguments: read or written, not called."""

USED: dict[str, dict[str, int | None]] = {
    "": {
        "Builder": 1,
        "BuilderFlag": VALUE,
        "ILogger": VALUE,
        "IOutputAllocator": VALUE,
        "IProgressMonitor": VALUE,
        "LayerInformationFormat": VALUE,
        "MemoryPoolType": VALUE,
        "NetworkDefinitionCreationFlag": VALUE,
        "OnnxParser": 2,
        "ProfilingVerbosity": VALUE,
        "Runtime": 1,
        "TensorLocation": VALUE,
        "__name__": VALUE,
        "__version__": VALUE,
    },
    "Builder": {
        "build_serialized_network": 2,
        "create_builder_config": 0,
        "create_network": 1,
        "create_optimization_profile": 0,
    },
    "BuilderFlag": {"TF32": VALUE},
    "DataType": {"name": VALUE},
    "EngineInspector": {"get_engine_information": 1},
    "IBuilderConfig": {
        "add_optimization_profile": 1,
        "builder_optimization_level": VALUE,
        "clear_flag": VALUE,
        "create_timing_cache": 1,
        "profiling_verbosity": VALUE,
        "progress_monitor": VALUE,
        "set_flag": VALUE,
        "set_memory_pool_limit": 2,
        "set_timing_cache": 2,
    },
    "ICudaEngine": {
        "create_engine_inspector": 0,
        "create_execution_context": 0,
        "get_tensor_dtype": 1,
        "get_tensor_location": 1,
        "get_tensor_name": 1,
        "num_io_tensors": VALUE,
    },
    "IExecutionContext": {
        "execute_async_v3": 1,
        "get_tensor_shape": 1,
        "infer_shapes": 0,
        "set_input_shape": 2,
        "set_output_allocator": 2,
        "set_tensor_address": 2,
    },
    "ILogger": {"Severity": VALUE, "__init__": 1},
    "ILogger.Severity": {"ERROR": VALUE, "INTERNAL_ERROR": VALUE, "WARNING": VALUE},
    "INetworkDefinition": {
        "get_input": 1,
        "num_inputs": VALUE,
    },
    "IOptimizationProfile": {"set_shape": 4},
    "IOutputAllocator": {"__init__": 1},
    "IProgressMonitor": {"__init__": 1},
    "ITensor": {"is_shape_tensor": VALUE, "name": VALUE},
    "ITimingCache": {"serialize": 0},
    "LayerInformationFormat": {"JSON": VALUE},
    "MemoryPoolType": {"WORKSPACE": VALUE},
    "NetworkDefinitionCreationFlag": {"STRONGLY_TYPED": VALUE},
    "OnnxParser": {"get_error": 1, "num_errors": VALUE, "parse_from_file": 1},
    "ParserError": {"desc": 0, "node_name": 0, "node_operator": 0},
    "ProfilingVerbosity": {"DETAILED": VALUE},
    "Runtime": {"deserialize_cuda_engine": 1},
    "TensorLocation": {"HOST": VALUE},
}
"""Class ("" is the module) to member to the number of arguments we give."""

ONLY_BEFORE_11 = {("", "NetworkDefinitionCreationFlag"), ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")}
"""Used where a version asks for it (Library.network_flags)."""

THINGS: dict[str, dict[str, str]] = {
    "trt_library.py": {"module": "", "trt": ""},
    "trt_plan.py": {
        "module": "",
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "error": "ParserError",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "timings": "ITimingCache",
        "tensor": "ITensor",
    },
    "trt_engine.py": {
        "module": "",
        "handle": "ICudaEngine",
        "engine": "ICudaEngine",
        "_runtime": "Runtime",
        "create_engine_inspector": "EngineInspector",
        "get_tensor_dtype": "DataType",
    },
    "trt_query.py": {
        "module": "", "engine": "ICudaEngine", "_engine": "ICudaEngine", "_context": "IExecutionContext",
    },
    "trt_outputs.py": {"trt": ""},
    "trt_progress.py": {"trt": ""},
}  # fmt: skip
"""File to what its names for things of TensorRT's are: variables, attributes, or calls that give one."""

METHODS = {
    "IProgressMonitor": {
        "phase_start": ["phase_name", "parent_phase", "num_steps"],
        "step_complete": ["phase_name", "step"],
        "phase_finish": ["phase_name"],
    },
    "ILogger": {"log": ["severity", "msg"]},
}
"""What we override, with the arguments that the bindings name; we may call them otherwise."""


def _last(node: ast.expr) -> str | None:
    """The name by which an expression ends: a variable's, an attribute's, or that of what is called."""
    if isinstance(node, ast.Call):
        return _last(node.func)
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _owner(node: ast.expr, things: dict[str, str]) -> str | None:
    """The class of the thing that an expression stands for; None for what is not TensorRT's."""
    name = _last(node)
    if isinstance(node, ast.Attribute) and node.attr[:1].isupper():
        above = _owner(node.value, things)
        return None if above is None else ".".join(filter(None, (above, node.attr)))
    return None if name is None else things.get(name)


def _used(file: str, things: dict[str, str]) -> Iterator[tuple[str, str, int | None]]:
    tree = ast.parse((RUNTIME / file).read_text(encoding="utf-8"))
    called = {
        id(node.func): len(node.args) + len(node.keywords)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = _owner(node.value, things)
            if owner is not None:
                yield owner, node.attr, called.get(id(node))


def _bases(file: str) -> set[str]:
    tree = ast.parse((RUNTIME / file).read_text(encoding="utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {str(_last(base)) for node in classes for base in node.bases if isinstance(base, ast.Attribute)}


def test_the_table_has_what_the_source_uses_and_no_more() -> None:
    found: dict[str, dict[str, int | None]] = {}
    for file, things in THINGS.items():
        for owner, member, arguments in _used(file, things):
            found.setdefault(owner, {}).setdefault(member, arguments)
    assert found == USED


def test_no_other_module_touches_tensorrt() -> None:
    """They are handed around elsewhere, and only there looked into."""
    imported = {
        path.name
        for path in RUNTIME.glob("*.py")
        if re.search(r"^ *(import|from) tensorrt|import_module\(", path.read_text(encoding="utf-8"), re.M)
    }
    assert imported == {"cuda_apis.py", "trt.py", "trt_library.py", "trt_parser.py"}
    subclassing = {path.name for path in RUNTIME.glob("trt*.py") if _bases(path.name)}
    assert subclassing == {"trt_library.py", "trt_outputs.py", "trt_progress.py"}


def _signatures(docstring: str, name: str) -> list[list[str]]:
    """Parameters of each overload that a pybind11 docstring begins with, but `self`."""
    found = re.findall(rf"^\s*(?:\d+\. )?{name}\((.*)\)(?: ->.*)?$", docstring, re.M)
    overloads = [each for each in found if each != "*args, **kwargs"]
    return [[part for part in _parts(each) if part and not part.startswith("self:")] for each in overloads]


def _parts(parameters: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth = [""], 0
    for character in parameters:
        depth += (character in "[(") - (character in "])")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _takes(signature: list[str], arguments: int) -> bool:
    required = [part for part in signature if "=" not in part]
    return len(required) <= arguments <= len(signature)


@pytest.mark.parametrize("name", TENSORRT)
def test_the_real_bindings_have_every_name_and_take_our_arguments(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ask(name, {owner: list(members) for owner, members in USED.items()}, tmp_path, monkeypatch)
    for owner, members in USED.items():
        for member, arguments in members.items():
            docstring = told[owner][member]
            assert docstring is not None or (owner, member) in ONLY_BEFORE_11, (
                f"{name} has no {owner}.{member}"
            )
            if arguments is VALUE or owner in ("", "ILogger", "IOutputAllocator", "IProgressMonitor"):
                continue
            signatures = _signatures(docstring or "", member)
            assert signatures, f"{owner}.{member} tells no signature: {docstring}"
            assert any(_takes(each, arguments) for each in signatures), f"{owner}.{member}: {signatures}"


def test_a_name_that_is_not_there_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`platform_has_fast_int8` went with TensorRT 11's weak typing."""
    wanted = {"Builder": ["platform_has_fast_int8", "create_network"], "IInt8Calibrator": []}
    told = {
        name: ask(name, wanted, tmp_path, monkeypatch) for name in ("tensorrt 10.16.1", "tensorrt 11.4.0")
    }
    old, new = told.values()
    assert old["Builder"]["platform_has_fast_int8"] is not None
    assert new["Builder"]["platform_has_fast_int8"] is None
    assert (old["IInt8Calibrator"][""] is None, new["IInt8Calibrator"][""] is None) == (False, True)
    (signature,) = _signatures(str(new["Builder"]["create_network"]), "create_network")
    assert [_takes(signature, arguments) for arguments in range(3)] == [True, True, False]


@pytest.mark.parametrize("name", TENSORRT)
def test_what_we_override_has_the_arguments_that_the_bindings_give(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ask(name, {owner: list(methods) for owner, methods in METHODS.items()}, tmp_path, monkeypatch)
    ours = {**_methods("trt_progress.py"), **_methods("trt_library.py")}
    for owner, methods in METHODS.items():
        for method, parameters in methods.items():
            (signature,) = _signatures(str(told[owner][method]), method)
            assert [part.partition(":")[0] for part in signature] == parameters
            assert len(ours[method]) == len(parameters)


@pytest.mark.parametrize("name", TENSORRT)
def test_an_output_allocator_has_the_methods_that_the_bindings_describe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no members of the class, but its docstring shows how to write them."""
    docstring = ask(name, {"IOutputAllocator": []}, tmp_path, monkeypatch)["IOutputAllocator"][""]
    described = dict(re.findall(r"def (\w+)\(self, ([^)]*)\)", str(docstring)))
    ours = _methods("trt_outputs.py")
    assert {method: parameters.split(", ") for method, parameters in described.items()} == {
        method: ours[method] for method in ("reallocate_output", "reallocate_output_async", "notify_shape")
    }


def _methods(file: str) -> dict[str, list[str]]:
    tree = ast.parse((RUNTIME / file).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {node.name: [argument.arg for argument in node.args.args[1:]] for node in functions}


@pytest.mark.parametrize("name", TENSORRT)
def test_the_types_that_tensors_may_have_are_the_bindings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ask(name, {"DataType": list(trt_engine._NUMPY_TYPES)}, tmp_path, monkeypatch)
    assert [member for member, docstring in told["DataType"].items() if docstring is None] == []


def test_types_have_the_names_that_tensorrt_gives_them_in_numpy() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    import numpy as np

    for name in ("FLOAT", "HALF", "INT8", "INT32", "INT64", "BOOL", "UINT8"):
        assert np.dtype(trt.nptype(getattr(trt.DataType, name))).name == trt_engine._NUMPY_TYPES[name]


def _calls_of_cuda() -> dict[str, int]:
    """Calls of cuda.bindings.runtime in our adapter, and how many arguments they are given."""
    tree = ast.parse((RUNTIME / "cuda_bindings.py").read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if _last(node.func) == "_call" and isinstance(node.args[0], ast.Constant):
            found[str(node.args[0].value)] = len(node.args) - 1
        elif isinstance(node.func, ast.Attribute) and _last(node.func.value) == "_runtime":
            found[node.func.attr] = len(node.args)
    return found


def test_the_real_cuda_bindings_have_every_call_and_take_our_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _calls_of_cuda()
    assert len(calls) == 21
    members = {"cudaMemcpyKind": ["cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost"]}
    modes = {"cudaStreamCaptureMode": ["cudaStreamCaptureModeThreadLocal"]}
    wanted = {"": [*calls, "cudaStreamNonBlocking"], **members, **modes}
    told = ask("cuda-bindings 13.5.0", wanted, tmp_path, monkeypatch)
    assert [name for owner in told.values() for name, docstring in owner.items() if docstring is None] == []
    for name, arguments in calls.items():
        (signature,) = _signatures(str(told[""][name]), name)
        assert len(signature) == arguments, f"{name}{signature}"
