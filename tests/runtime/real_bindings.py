"""NVIDIA's own Python bindings on a machine without their libraries: what they have, asked in a process.

The wheels of bindings are small, and want nine functions of libraries that are not: a C file stands in for
those, after which the modules load, and every class tells its members.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_zoo import archives
from model_zoo.archives import Archive
from runtime.errors import UnavailableError

_NVIDIA = "package of NVIDIA's; only asked, never shipped"
_LOADING = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
"""What the bindings' module leaves undefined, as `nm` tells; each gives a null pointer here."""


@dataclass(frozen=True)
class Bindings:
    """Wheels to unzip into one folder, and the module to import from there.

    major: of the libraries that a C file stands in for; None where none is needed.
    """

    module: str
    wheels: tuple[Archive, ...]
    major: int | None = None


def _wheel(requirement: str, file: str, size: int, sha256: str, members: str) -> Archive:
    return Archive(requirement, file, size, sha256, (members,), _NVIDIA)


BINDINGS = {
    "tensorrt 10.16.1": Bindings(
        "tensorrt_bindings",
        (
            _wheel(
                "tensorrt-cu13-bindings==10.16.1.11",
                "tensorrt_cu13_bindings-10.16.1.11-cp311-none-manylinux_2_28_x86_64.whl",
                1_346_363,
                "f986d47980d042cc126506a9b84586e55ad13737a7a46826fe45457c04d66294",
                "tensorrt_bindings/*",
            ),
        ),
        10,
    ),
    "tensorrt 11.4.0": Bindings(
        "tensorrt_bindings",
        (
            _wheel(
                "tensorrt-cu13-bindings==11.4.0.106",
                "tensorrt_cu13_bindings-11.4.0.106-cp311-none-manylinux_2_28_x86_64.whl",
                1_260_589,
                "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
                "tensorrt_bindings/*",
            ),
        ),
        11,
    ),
    "tensorrt_rtx": Bindings("tensorrt_rtx", ()),
    "cuda-bindings 13.5.0": Bindings(
        "cuda.bindings.runtime",
        (
            _wheel(
                "cuda-bindings==13.5.0",
                "cuda_bindings-13.5.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
                8_390_178,
                "08b7e8d674c3266facb00453a7e34ea7d3ea965c2f594bb728f269f45f39fbe2",
                "cuda/*.*",  # folders have entries of their own
            ),
            _wheel(
                "cuda-pathfinder==1.9.1",
                "cuda_pathfinder-1.9.1-py3-none-any.whl",
                63_462,
                "b743c132f90ad2d1e71d43fd28f31ebcde518f943e50fd44aca62b2a80d5230d",
                "cuda/*.*",  # folders have entries of their own
            ),
        ),
    ),
}

_PROBE = """
import ctypes, importlib, json, sys
module, libraries, wanted, out = json.loads(sys.argv[1])
for library in libraries:
    ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
root = importlib.import_module(module)
told = {}
for owner, names in wanted.items():
    thing = root
    for part in filter(None, owner.split(".")):
        thing = getattr(thing, part, None)
    told[owner] = {"": thing and (thing.__doc__ or ""), **{
        name: (str(getattr(thing, name).__doc__ or "") if hasattr(thing, name) else None) for name in names
    }}
with open(out, "w") as stream:
    json.dump(told, stream)
"""

Told = dict[str, dict[str, str | None]]
"""Class ("" is the module) to member to what its docstring says; None where there is no such member."""


def ask(name: str, wanted: dict[str, list[str]], folder: Path, patch: pytest.MonkeyPatch) -> Told:
    """What the bindings `name` say of members by class; skips where they cannot be had here."""
    bindings = BINDINGS[name]
    if not bindings.wheels:
        pytest.importorskip(bindings.module)
    elif sys.version_info[:2] != (3, 11) or (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the bindings' digests are those for Python 3.11 on Linux, x86-64")
    libraries = _stand_ins(folder, bindings.major)
    paths = [_unzipped(wheel, patch) for wheel in bindings.wheels]
    if len(paths) > 1:
        paths = [_merged(paths, folder / "merged")]
    out = folder / "told.json"
    question = json.dumps([bindings.module, [str(path) for path in libraries], wanted, str(out)])
    code = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n{_PROBE}"
    done = subprocess.run(
        [sys.executable, "-c", code, question], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told: Told = json.loads(out.read_text())
    return told


def _unzipped(wheel: Archive, patch: pytest.MonkeyPatch) -> Path:
    name = wheel.requirement.replace("==", "-")
    patch.setitem(archives.ARCHIVES, name, wheel)
    try:
        return archives.fetch(name)
    except UnavailableError as error:
        pytest.skip(str(error))


def _merged(paths: list[Path], folder: Path) -> Path:
    """The parts of one package from several wheels: an `__init__` in one would hide the others."""
    for path in paths:
        shutil.copytree(path, folder, dirs_exist_ok=True)
    return folder


def _stand_ins(folder: Path, major: int | None) -> list[Path]:
    """Libraries that have the functions and do nothing, in the order in which to load them."""
    if major is None:
        return []
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler: put cc, gcc or clang on PATH")
    source = folder / "stand_in.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    libraries = []
    for name in _LOADING:
        file = f"lib{name}.so.{major}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", str(folder / file), str(source)]
        subprocess.run(command, check=True, timeout=60)
        libraries.append(folder / file)
    return libraries
