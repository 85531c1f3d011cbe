from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from runtime import backends
from runtime.errors import UnavailableError, UsageError
from runtime.null import NullBackend


class AcmeBackend(NullBackend):
    """What a vendor's package would bring."""

    name = "acme"


@pytest.fixture
def _vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("acme", f"{__name__}:AcmeBackend", backends.ENTRY_POINTS),
        EntryPoint("absent", "no_such_package:Backend", backends.ENTRY_POINTS),
        EntryPoint("misspelt", f"{__name__}:AcmeBakend", backends.ENTRY_POINTS),
        EntryPoint("null", f"{__name__}:AcmeBackend", backends.ENTRY_POINTS),
    ]
    monkeypatch.setattr(backends, "entry_points", lambda group: points)


@pytest.mark.usefixtures("_vendor")
def test_an_installed_package_brings_a_backend() -> None:
    assert backends.get_backend("acme").name == "acme"
    assert backends.backend_names() == (*backends.BACKENDS, "acme", "absent", "misspelt")


@pytest.mark.usefixtures("_vendor")
def test_a_vendor_cannot_take_the_place_of_one_of_ours() -> None:
    assert backends.get_backend("null").name == "null"


@pytest.mark.usefixtures("_vendor")
@pytest.mark.parametrize("name", ["absent", "misspelt"])
def test_a_vendors_backend_that_does_not_load_is_unavailable(name: str) -> None:
    with pytest.raises(UnavailableError, match=f"backend '{name}' of .* does not load: .*; reinstall"):
        backends.get_backend(name)


def test_an_unknown_backend_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown backend 'openvin': did you mean openvino"):
        backends.get_backend("openvin")


def test_the_table_and_every_backend_load_no_runtime() -> None:
    program = (
        "import sys; from runtime.backends import BACKENDS;"
        "[make() for make in BACKENDS.values()];"
        "print([m for m in ('onnxruntime', 'openvino', 'tensorrt', 'cuda', 'pycuda') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
