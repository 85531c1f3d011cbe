"""The programs of others that benchmarks stand beside, each in an environment of its own."""

from __future__ import annotations

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
}
"""What is installed for each, from PyPI and without dependencies: the versions of CAFFE.md 3 and 4."""


def interpreter(peer: str) -> Path:
    """The Python of an environment that holds `peer` alone, made at the first call; of our own for ""."""
    if not peer:
        return Path(sys.executable)
    folder = home() / "peers" / "_".join(PEERS[peer])
    if not folder.exists():
        with replacing_folder(folder) as temporary:
            venv.create(temporary, with_pip=True)
            pip = [str(temporary / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
            command([*pip, *PEERS[peer]])
    return folder / "bin" / "python"
