"""The programs of others that benchmarks stand beside, each in an environment of its own."""

from __future__ import annotations

import hashlib
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from runtime.files import home, replacing_folder
from tests.performance.trials import command

PEERS: Mapping[str, tuple[str, ...]] = {
    # It pins onnx 1.6.0, which cannot be built for Python 3.11; these are the newest that it runs with, and
    # that protobuf is pure Python there.
    "caffe2onnx": ("caffe2onnx==2.0.1", "numpy==2.4.6", "onnx==1.17.0", "protobuf==3.20.3"),
    "MNN": ("MNN==3.6.1",),
    "nncf": (
        *("nncf==3.4.0", "numpy==2.4.6", "onnx==1.23.2", "onnx-ir==1.1.0", "onnxruntime==1.32.0"),
        *("openvino==2026.4.1", "openvino-telemetry==2025.2.0", "protobuf==7.36.2", "ml_dtypes==0.6.0"),
        *("cloudpickle==3.1.3", "flatbuffers==25.12.19", "joblib==1.6.0", "markdown-it-py==4.3.0"),
        *("mdurl==0.1.2", "mpmath==1.3.0", "narwhals==2.29.0", "networkx==3.6.1", "ninja==1.13.2"),
        *("packaging==26.4", "psutil==7.2.2", "pydot==4.0.1", "Pygments==2.21.0", "pyparsing==3.3.3"),
        *("rich==15.0.0", "safetensors==0.8.0", "scikit-learn==1.9.1", "scipy==1.17.1", "sympy==1.14.0"),
        *("tabulate==0.10.0", "threadpoolctl==3.8.0", "typing_extensions==4.16.0"),
    ),
}
"""What is installed for each, from PyPI and without dependencies: the versions of CAFFE.md 3 and 4."""


def interpreter(peer: str) -> Path:
    """The Python of an environment that holds `peer` alone, made at the first call; of our own for ""."""
    if not peer:
        return Path(sys.executable)
    wanted = hashlib.sha256(" ".join(PEERS[peer]).encode()).hexdigest()[:12]
    folder = home() / "peers" / f"{peer}-{wanted}"
    if not folder.exists():
        with replacing_folder(folder) as temporary:
            venv.create(temporary, with_pip=True)
            pip = [str(temporary / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
            command([*pip, *PEERS[peer]])
    return folder / "bin" / "python"
