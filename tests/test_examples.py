"""The example of a vendor's backend installs, is found by its entry point, and fulfils the contract."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from runtime.backend import Backend, Boundary, Query, Session, SessionOptions
from runtime.errors import FeedError, GraphError, HarnessError, UnavailableError, UsageError
from runtime.graphs import inspect
from runtime.reference import ReferenceBackend
from tests.bench.factories import write_tiny_model
from tests.models import CONV_CHAIN, MODELS, TinyModel

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "aimatrix-backend-example"
QUICK = ("--duration", "0.1", "--evaluation-samples", "2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example is installed in, as pip does it for a user; without a network."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("example")
    source = folder / "source"  # a build leaves files beside the source
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    flags = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, "--target", folder / "site", source], check=True
    )
    return folder / "site"


def _bench(installed: Path, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = "from bench.cli import main; raise SystemExit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=EXAMPLE.parent.parent,
        env={**os.environ, "AIMATRIX_HOME": str(home), "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_listed_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    told = _bench(installed, tmp_path, "list", "backends").stdout
    assert "\nexample      example 1.0 (onnx " in told
    assert "example" not in _bench(tmp_path, tmp_path, "list", "backends").stdout


def test_it_is_put_to_the_conformance_tests(installed: Path, tmp_path: Path) -> None:
    flags = ("--no-models", "--operators", "Conv", "--operators", "Gemm", "--json")
    told = _bench(installed, tmp_path, "conformance", "--backend", "example", *flags)
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    assert document["backend"] == "example"
    assert document["score"]["cases"]["share"] == 1
    assert document["score"]["cases"]["applicable"] > 10


def test_it_is_a_command_that_measures(installed: Path, tmp_path: Path) -> None:
    tiny = write_tiny_model(tmp_path / "tiny.onnx")
    told = _bench(installed, tmp_path / "home", "example", "--model", tiny, "--json", *QUICK)
    assert told.returncode == 0, told.stderr
    record = json.loads(told.stdout)
    assert (record["backend"], record["device"]) == ("example", "cpu")
    assert record["executed"]["macs_by_type"] == {"float32": 1.0}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = import_module("aimatrix_backend_example")
    yield module.ExampleBackend()
    sys.modules.pop("aimatrix_backend_example")


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_it_answers_and_describes_every_tiny_graph(
    backend: Backend, model: TinyModel, tmp_path: Path
) -> None:
    path = model.write(tmp_path)
    facts = inspect(path)
    with ReferenceBackend().open(path, "cpu", SessionOptions()) as reference:
        want = reference.run(model.feed())
    with backend.open(path, "cpu", SessionOptions()) as session:
        assert (session.inputs, session.outputs) == (facts.inputs, facts.outputs)
        for boundary in Boundary:
            got = session.bind(model.feed(), boundary).outputs()
            assert list(got) == list(want)
            for name, array in got.items():
                np.testing.assert_array_equal(array, want[name])
        shares = session.executed().macs_by_type
        assert sum(shares.values()) == pytest.approx(1 if shares else 0)


def test_its_outputs_are_copies(backend: Backend, tmp_path: Path) -> None:
    with backend.open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions()) as session:
        query = session.bind(CONV_CHAIN.feed(), Boundary.DEVICE)
        first = query.outputs()["y"]
        kept = first.copy()
        first[...] = -1
        np.testing.assert_array_equal(query.outputs()["y"], kept)


@pytest.mark.parametrize(
    ("device", "options", "error", "match"),
    [
        ("abacus", SessionOptions(), UnavailableError, "no device 'abacus'; found: cpu"),
        ("cpu", SessionOptions(threads=2), UsageError, "neither threads nor provider options"),
        ("cpu", SessionOptions(provider_options={"a": "b"}), UsageError, "neither threads nor provider"),
    ],
)
def test_it_refuses_what_it_does_not_know(
    backend: Backend,
    device: str,
    options: SessionOptions,
    error: type[HarnessError],
    match: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=match):
        backend.open(CONV_CHAIN.write(tmp_path), device, options)


def test_a_broken_file_and_a_feed_that_does_not_fit_are_told(backend: Backend, tmp_path: Path) -> None:
    path = CONV_CHAIN.write(tmp_path)
    with backend.open(path, "cpu", SessionOptions()) as session, pytest.raises(FeedError, match="missing"):
        session.run({})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(GraphError, match="cut short"):
        backend.open(path, "cpu", SessionOptions())


DOCUMENTATION = EXAMPLE.parent.parent / "docs" / "backends.md"


def test_the_entry_point_that_is_documented_is_the_examples() -> None:
    (documented,) = re.findall(r"```toml\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    assert documented in (EXAMPLE / "pyproject.toml").read_text()


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", DOCUMENTATION.read_text())
    assert links
    assert not [link for link in links if not (DOCUMENTATION.parent / link).exists()]


@pytest.mark.parametrize("protocol", [Backend, Session, Query])
def test_every_member_of_the_contract_is_documented(protocol: type) -> None:
    members = [name for name in vars(protocol) if not name.startswith("_")]
    assert members
    assert [name for name in members if f"`{name}" not in DOCUMENTATION.read_text()] == []
