"""Plans and timings kept in the store: what is found again, what is not, and what is seen to be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtime import files, trt_cache
from runtime.backend import BuildFacts, SessionOptions
from runtime.errors import StoreError, UnsupportedError, UsageError
from runtime.tensors import Array
from runtime.trt import TensorRTBackend
from runtime.trt_cache import PlanKey, Target, TimingKey, entry_folder, read_entry, write_entry
from runtime.trt_options import BuildSettings
from runtime.trt_profile import InputShapes
from tests.models import CONV_CHAIN
from tests.runtime.trt_double import TensorRT, install

TARGET = Target("tensorrt 11.4.0", "H200", "9.0", "580.82.07 (CUDA 13.0)")
KEY = PlanKey("ab12", (InputShapes("x", (1, 4), (2, 4), (4, 4)),), BuildSettings(), TARGET)


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRT:
    return install(monkeypatch, tmp_path / "home", [])


def _run(
    graph: Path, device: str = "cuda:0", batch: int = 3, options: Mapping[str, str] = MappingProxyType({})
) -> Array:
    chosen = SessionOptions(provider_options=options)
    with TensorRTBackend().open(graph, device, chosen) as session:
        return session.run(CONV_CHAIN.feed(batch))["y"]


def _entries() -> dict[str, list[Path]]:
    """Folders of the store by what they hold."""
    folders = [path for path in (files.home() / "plans").iterdir() if path.is_dir()]
    plans = [path for path in folders if (path / trt_cache.PLAN).exists()]
    return {"plans": plans, "timings": [path for path in folders if path not in plans]}


def test_a_plan_is_built_once_for_all_sessions(tensorrt: TensorRT, tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    np.testing.assert_array_equal(_run(graph), _run(graph))
    assert len(tensorrt.built) == 1
    assert {name: len(found) for name, found in _entries().items()} == {"plans": 1, "timings": 1}


def _other_weights(folder: Path) -> Path:
    model = CONV_CHAIN.build()
    weight = model.graph.initializers["w1"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * 2, name="w1")
    path = folder / "conv_chain.onnx"
    ir.save(model, path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda graph, tensorrt: _run(_other_weights(graph.parent)),
        lambda graph, tensorrt: _run(graph, batch=2),
        lambda graph, tensorrt: _run(graph, options={"tf32": "1"}),
        lambda graph, tensorrt: _run(graph, options={"builder_optimization_level": "5"}),
        lambda graph, tensorrt: _run(graph, options={"workspace_bytes": "4096"}),
        lambda graph, tensorrt: _run(graph, options={"profile.batch": "2:3:3"}),
        lambda graph, tensorrt: _run(graph, "cuda:1"),
        lambda graph, tensorrt: [tensorrt.__setattr__("__version__", "10.16.1"), _run(graph)],
    ],
    ids=["weights", "batch", "tf32", "level", "workspace", "profile", "device", "version"],
)
def test_what_decides_a_plan_makes_another(
    change: Callable[[Path, TensorRT], object], tensorrt: TensorRT, tmp_path: Path
) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    _run(graph)
    change(graph, tensorrt)
    assert len(tensorrt.built) == 2
    assert len(_entries()["plans"]) == 2


def test_another_driver_makes_another_plan(
    tensorrt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    _run(graph)
    monkeypatch.setattr("runtime.cuda.driver_version", lambda: "590.1 (CUDA 13.1)")
    _run(graph)
    assert len(tensorrt.built) == 2


def test_external_data_is_part_of_the_graph(tensorrt: TensorRT, tmp_path: Path) -> None:
    """The double reads none, so that only the keys are compared."""
    path = tmp_path / "m.onnx"
    digests = set()
    for scale in (1.0, 2.0):
        model = CONV_CHAIN.build()
        weight = model.graph.initializers["w1"]
        assert weight.const_value is not None
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(scale), name="w1")
        ir.save(model, path, external_data="weights.bin", size_threshold_bytes=1)
        from runtime.graphs import graph_digest

        digests.add(graph_digest(path))
    assert len({entry_folder(replace(KEY, graph=digest).facts()) for digest in digests}) == 2


@pytest.mark.parametrize(
    "options", [{"cuda_graph": "1"}, {"cuda_api": "cuda-bindings"}], ids=["cuda_graph", "cuda_api"]
)
def test_what_decides_only_how_it_runs_makes_no_other(
    options: dict[str, str], tensorrt: TensorRT, tmp_path: Path
) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    _run(graph)
    _run(graph, options=options)
    assert len(tensorrt.built) == 1


OTHERS: dict[str, PlanKey] = {
    "graph": replace(KEY, graph="ab13"),
    "input": replace(KEY, profile=(replace(KEY.profile[0], name="z"),)),
    "least": replace(KEY, profile=(replace(KEY.profile[0], least=(2, 4)),)),
    "best": replace(KEY, profile=(replace(KEY.profile[0], best=(3, 4)),)),
    "most": replace(KEY, profile=(replace(KEY.profile[0], most=(5, 4)),)),
    "two inputs": replace(KEY, profile=KEY.profile * 2),
    "none": replace(KEY, profile=()),
    "digits": replace(KEY, profile=(replace(KEY.profile[0], most=(54,)),)),
    "tf32": replace(KEY, settings=BuildSettings(tf32=True)),
    "level 0": replace(KEY, settings=BuildSettings(builder_optimization_level=0)),
    "workspace": replace(KEY, settings=BuildSettings(workspace_bytes=0)),
    "library": replace(KEY, target=replace(TARGET, library="tensorrt_rtx 11.4.0")),
    "gpu": replace(KEY, target=replace(TARGET, gpu="L40S")),
    "capability": replace(KEY, target=replace(TARGET, capability="8.9")),
    "driver": replace(KEY, target=replace(TARGET, driver="590.1")),
}


def test_every_field_of_a_key_makes_another_entry() -> None:
    keys = (KEY, *OTHERS.values())
    folders = {entry_folder(key.facts()) for key in keys} | {entry_folder(TimingKey(TARGET).facts())}
    assert len(folders) == len(keys) + 1
    assert {name for key in keys for name in key.facts()["plan"]} == set(PlanKey.__dataclass_fields__)


Damage = Callable[[Path], object]


def _cut(path: Path) -> Damage:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:-1])


def _reseal(change: Callable[[dict[str, Any]], None]) -> Damage:
    def damage(folder: Path) -> None:
        seal = json.loads((folder / "seal.json").read_text())
        change(seal)
        (folder / "seal.json").write_text(json.dumps(seal))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _cut(Path("plan")),
        _cut(Path("layers.json")),
        _cut(Path("seal.json")),
        lambda folder: (folder / "plan").unlink(),
        lambda folder: (folder / "seal.json").unlink(),
        lambda folder: (folder / "seal.json").write_text("[]"),
        lambda folder: (folder / "seal.json").write_bytes(b"\xff"),
        _reseal(lambda seal: seal["key"]["plan"]["settings"].update(tf32=True)),
        _reseal(lambda seal: seal["files"].pop("layers.json")),
        _reseal(lambda seal: seal["files"].update({"plan": "0" * 64})),
        _reseal(lambda seal: seal.update(files=3)),
    ],
    ids=[
        "plan cut", "layers cut", "seal cut", "no plan", "no seal", "seal of no kind", "seal not text",
        "another's", "layers not sealed", "another digest", "files of no kind",
    ],
)  # fmt: skip
def test_a_damaged_entry_is_noticed_and_rebuilt(damage: Damage, tensorrt: TensorRT, tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    expected = _run(graph)
    damage(_entries()["plans"][0])
    np.testing.assert_array_equal(_run(graph), expected)
    assert len(tensorrt.built) == 2
    _run(graph)
    assert len(tensorrt.built) == 2


def test_a_plan_that_tensorrt_does_not_read_any_more_is_rebuilt(tensorrt: TensorRT, tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    _run(graph)
    plan = _entries()["plans"][0] / "plan"
    tensorrt.unreadable = {plan.read_bytes()}
    with pytest.raises(
        UnsupportedError, match=r"tensorrt 11.4.0 does not read its own plan on H200: it gives"
    ):
        _run(graph)
    assert len(tensorrt.built) == 2
    tensorrt.unreadable = set()
    _run(graph)
    assert len(tensorrt.built) == 2


def test_what_a_killed_run_left_is_cleared_away(tensorrt: TensorRT, tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    _run(graph)
    entry = _entries()["plans"][0]
    left = entry.with_name(f".{entry.name}.killed")
    left.mkdir()
    (left / "plan").write_bytes(b"half a pl")
    (entry / "plan").unlink()
    _run(graph)
    assert not left.exists()
    assert len(tensorrt.built) == 2


def test_layers_lie_beside_the_plan(tensorrt: TensorRT, tmp_path: Path) -> None:
    tensorrt.layers = [{"Name": "conv1"}]
    _run(CONV_CHAIN.write(tmp_path))
    told = json.loads((_entries()["plans"][0] / "layers.json").read_text())
    assert told["Layers"] == [{"Name": "conv1"}]


def test_timings_are_handed_on_from_build_to_build(tensorrt: TensorRT, tmp_path: Path) -> None:
    """The double adds a full stop at each build."""
    graph = CONV_CHAIN.write(tmp_path)
    for batch in (1, 2, 3):
        _run(graph, batch=batch)
    assert [config.timings for config in tensorrt.built] == [b"", b".", b".."]


@pytest.mark.parametrize("kept", [b"foreign", b"old"], ids=["no cache is made of it", "it is not taken"])
def test_timings_that_tensorrt_does_not_take_are_begun_anew(
    kept: bytes, tensorrt: TensorRT, tmp_path: Path
) -> None:
    write_entry(TimingKey(TARGET).facts(), {"timings": kept})
    _run(CONV_CHAIN.write(tmp_path))
    assert tensorrt.built[0].timings == b""
    assert read_entry(TimingKey(TARGET).facts()) == {"timings": b"."}


def test_damaged_timings_are_begun_anew(tensorrt: TensorRT, tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    _run(graph, batch=1)
    _cut(Path("timings"))(_entries()["timings"][0])
    _run(graph, batch=2)
    assert tensorrt.built[1].timings == b""


def test_timings_that_another_process_kept_meanwhile_stay(tensorrt: TensorRT, tmp_path: Path) -> None:
    def other() -> None:
        write_entry(TimingKey(TARGET).facts(), {"timings": b"theirs"})

    tensorrt.step = other
    _run(CONV_CHAIN.write(tmp_path))
    assert read_entry(TimingKey(TARGET).facts()) == {"timings": b"theirs"}


def test_a_plan_that_another_process_built_meanwhile_is_taken(
    tensorrt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.trt_engine import Engines

    real, asked = Engines._stored, []

    def first_nothing(self: Engines, profile: object) -> object:
        asked.append(profile)
        return None if len(asked) == 1 else real(self, profile)  # type: ignore[arg-type]

    graph = CONV_CHAIN.write(tmp_path)
    _run(graph)
    monkeypatch.setattr(Engines, "_stored", first_nothing)
    _run(graph)
    assert (len(asked), len(tensorrt.built)) == (2, 1)


@pytest.mark.usefixtures("tensorrt")
def test_a_store_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "file"))
    with pytest.raises(
        StoreError, match=r"cannot lock .*; set AIMATRIX_HOME to a folder that can be written"
    ):
        _run(CONV_CHAIN.write(tmp_path))


@pytest.mark.usefixtures("tensorrt")
def test_a_session_tells_whether_its_engine_was_built_or_kept(tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    for cached in (False, True):
        with TensorRTBackend().open(graph, "cuda:0", SessionOptions()) as session:
            with pytest.raises(UsageError, match="call bind or run first"):
                session.built()
            session.run(CONV_CHAIN.feed(3))
            (folder,) = _entries()["plans"]
            size = (folder / trt_cache.PLAN).stat().st_size
            assert session.built() == BuildFacts(cached=cached, engine_bytes=size)
