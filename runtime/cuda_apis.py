"""The adapters of CUDA: one table, and what each lacks on this machine."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from runtime.cuda_api import CudaApi

if TYPE_CHECKING:
    from runtime.cuda_bindings import CudaBindings
    from runtime.cuda_pycuda import PyCuda


def missing(name: str) -> str | None:
    """One line that says what the adapter `name` lacks on this machine, or None."""
    package, extra = _PACKAGES[name]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError:
        return f"{name} is not installed: pip install '{extra}' in the clone"
    except (ImportError, OSError) as error:
        return (
            f"{name} does not load ({' '.join(str(error).split())}): install its libraries, or reinstall it"
        )
    return None


def _cuda_bindings() -> CudaBindings:
    from runtime.cuda_bindings import CudaBindings

    return CudaBindings()


def _pycuda() -> PyCuda:
    from runtime.cuda_pycuda import PyCuda

    return PyCuda()


CUDA_APIS: Mapping[str, Callable[[], CudaApi]] = {"cuda-bindings": _cuda_bindings, "pycuda": _pycuda}
"""The default comes first."""

_PACKAGES = {"cuda-bindings": ("cuda.bindings.runtime", ".[trt]"), "pycuda": ("pycuda.driver", ".[pycuda]")}
