"""`bench export`: a folder of graphs with a manifest, which runs where only a runtime is installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.artefacts import Artefacts
from bench.environment import package_versions
from bench.manifest import MANIFEST, GraphEntry, Manifest, write_manifest
from bench.plan import BenchPlan, CalibrationPlan
from bench.progress import Display
from bench.store import Identity, StoredGraph
from bench.subject import EXPORT_TOOLS, Subject, find_subject, own_feeds, weights_digest
from calibration.precision import Precision
from runtime.errors import StoreError, UsageError
from runtime.files import replacing_folder, sha256_of_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporters.source import Source


@dataclass(frozen=True)
class ExportPlan:
    """One `bench export`: where from (exactly one of model, saved_model, prototxt), where to, what."""

    out: Path
    model: str | None = None
    variant: str = ""
    framework: str | None = None
    weights: Path | None = None
    saved_model: Path | None = None
    prototxt: Path | None = None
    caffemodel: Path | None = None
    post_processing: bool = True
    feeds: Path | None = None
    data: Path | None = None
    precisions: tuple[Precision, ...] = ()
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)

    def __post_init__(self) -> None:
        given = [
            flag
            for flag, value in (
                ("--model", self.model),
                ("--saved-model", self.saved_model),
                ("--prototxt", self.prototxt),
            )
            if value is not None
        ]
        if len(given) != 1:
            raise UsageError(
                f"export wants one of --model, --saved-model and --prototxt; got {', '.join(given) or 'none'}"
            )
        if (self.prototxt is None) != (self.caffemodel is None):
            raise UsageError("a Caffe network is two files: give --prototxt and --caffemodel together")
        if not self.post_processing and self.prototxt is None:
            raise UsageError("--without-post-processing cuts a detector's --prototxt; leave it out")

    def all_precisions(self) -> tuple[Precision, ...]:
        """FP32 first, since every other graph is made from it."""
        return tuple(dict.fromkeys((Precision.FP32, *self.precisions)))


def export_bundle(plan: ExportPlan, home: Path, display: Display) -> list[Path]:
    """Write the bundle and return its files; raises what exports and conversions raise."""
    if plan.out.exists() and not (plan.out.is_dir() and _replaceable(plan.out)):
        raise StoreError(f"--out {plan.out} is there and is no bundle; give a new folder")
    subject = _subject(plan)
    artefacts = Artefacts(subject, home, plan.calibration, display)
    graphs = {precision: artefacts.at(precision) for precision in plan.all_precisions()}
    with replacing_folder(plan.out) as folder:
        entries = {precision.value: _copy(graph, precision, folder) for precision, graph in graphs.items()}
        identity = subject.identity
        manifest = Manifest(
            model=identity.model,
            variant=identity.variant,
            framework=identity.framework,
            identity=dict(identity.facts),
            graphs=entries,
        )
        write_manifest(folder / MANIFEST, manifest)
    return sorted(plan.out.iterdir())


def _replaceable(folder: Path) -> bool:
    return (folder / MANIFEST).exists() or not any(folder.iterdir())


def _copy(graph: StoredGraph, precision: Precision, folder: Path) -> GraphEntry:
    """Copy a graph's files; data files keep their names, since the graph refers to them."""
    files = {}
    for name, digest in (graph.entry.files or {graph.path.name: sha256_of_file(graph.path)}).items():
        target = f"{precision}.onnx" if name == graph.path.name else name
        shutil.copyfile(graph.path.parent / name, folder / target)
        files[target] = digest
    return graph.entry.model_copy(update={"files": files})


def _subject(plan: ExportPlan) -> Subject:
    if plan.model is not None:
        frameworks = (plan.framework,) if plan.framework else ()
        request = BenchPlan(
            backend="",
            models=(plan.model,),
            variant=plan.variant,
            frameworks=frameworks,
            weights=plan.weights,
            feeds=plan.feeds,
            data=plan.data,
        )
        return find_subject(request, plan.model, plan.framework)
    if plan.saved_model is not None:
        return _saved_model_subject(plan, plan.saved_model)
    return _caffe_subject(plan)


def _saved_model_subject(plan: ExportPlan, folder: Path) -> Subject:
    if not (folder / "saved_model.pb").is_file():
        raise UsageError(
            f"--saved-model {folder}: no saved_model.pb in it; give the folder tf.saved_model.save wrote"
        )

    def source() -> Source:
        from exporters.tensorflow import TensorFlowSource

        return TensorFlowSource.from_saved_model(folder)

    return _own_subject(
        plan, folder.resolve().name, "tensorflow", {"saved_model": weights_digest(folder)}, source
    )


def _caffe_subject(plan: ExportPlan) -> Subject:
    prototxt, caffemodel = _readable(plan.prototxt, "--prototxt"), _readable(plan.caffemodel, "--caffemodel")

    def source() -> Source:
        from exporters.caffe.source import CaffeSource

        return CaffeSource.from_files(prototxt, caffemodel, post_processing=plan.post_processing)

    facts = {
        "prototxt": sha256_of_file(prototxt),
        "caffemodel": sha256_of_file(caffemodel),
        "post-processing": str(plan.post_processing),
    }
    return _own_subject(plan, prototxt.stem, "caffe", facts, source)


def _own_subject(
    plan: ExportPlan, name: str, framework: str, facts: dict[str, str], source: Callable[[], Source]
) -> Subject:
    from model_zoo import catalog

    tools = package_versions(EXPORT_TOOLS[framework])
    facts = {**facts, "exporters": catalog.source_digest(), **{f"tool {n}": v for n, v in tools.items()}}
    return Subject(
        identity=Identity(name, "", framework, facts),
        task=None,
        source=source,
        feeds=own_feeds(plan.feeds, seed=0),
    )


def _readable(path: Path | None, flag: str) -> Path:
    if path is None or not path.is_file():
        raise UsageError(f"{flag} {path}: no such file")
    return path
