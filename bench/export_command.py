"""`bench export`: a folder of graphs with a manifest, which runs where only a runtime is installed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.artefacts import Artefacts
from bench.export_checks import Checked, run_checks
from bench.export_plan import ExportPlan
from bench.export_subject import export_subject
from bench.manifest import MANIFEST, GraphEntry, Manifest, write_manifest
from bench.parsers import parsed
from bench.progress import Display
from bench.store import Identity, StoredGraph
from calibration.precision import Precision
from runtime.errors import StoreError
from runtime.files import replacing_folder, sha256_of_file


def export_bundle(plan: ExportPlan, home: Path, display: Display) -> list[Path]:
    """Write the bundle and return its files; raises what checks, exports and conversions raise."""
    if plan.out.exists() and not (plan.out.is_dir() and _replaceable(plan.out)):
        raise StoreError(f"--out {plan.out} is there and is no bundle; give a new folder")
    subject, allowed = export_subject(plan), plan.allow_unchecked
    with _store(plan, home) as store:
        artefacts = Artefacts(subject, store, plan.calibration, display, allow_unchecked=allowed)
        # Before the export, which would only say that an output differs.
        checked = run_checks(artefacts, plan.checks, display, allow_unchecked=allowed)
        graphs = {precision: artefacts.at(precision) for precision in plan.all_precisions()}
        with replacing_folder(plan.out) as folder:
            entries = _copied(graphs, checked, folder)
            whole = subject.identity.framework == "caffe" and plan.post_processing
            _write_manifest(folder, subject.identity, parsed(folder, entries, display, whole=whole))
    return sorted(plan.out.iterdir())


def _replaceable(folder: Path) -> bool:
    return (folder / MANIFEST).exists() or not any(folder.iterdir())


@contextmanager
def _store(plan: ExportPlan, home: Path) -> Iterator[Path]:
    """Where graphs are built: the store; a folder of its own for what no later run may take from there.

    Such are graphs made by functions of the user's, which may read anything, and unchecked ones.
    """
    if not (plan.python_layers or plan.allow_unchecked):
        yield home
        return
    try:
        plan.out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{plan.out.name}-", dir=plan.out.parent)
    except OSError as error:
        raise StoreError(f"cannot write beside --out {plan.out}: {error.strerror or error}") from error
    with folder as path:
        yield Path(path)


def _copied(graphs: Mapping[Precision, StoredGraph], checked: Checked, folder: Path) -> dict[str, GraphEntry]:
    entries = {precision.value: _copy(graph, precision, folder) for precision, graph in graphs.items()}
    fp32 = entries[Precision.FP32]
    changes = {**checked.facts, "warnings": (*fp32.warnings, *checked.unchecked)}
    return {**entries, Precision.FP32: fp32.model_copy(update=changes)}


def _copy(graph: StoredGraph, precision: Precision, folder: Path) -> GraphEntry:
    """Copy a graph's files; data files keep their names, since the graph refers to them."""
    files = {}
    for name, digest in (graph.entry.files or {graph.path.name: sha256_of_file(graph.path)}).items():
        target = f"{precision}.onnx" if name == graph.path.name else name
        shutil.copyfile(graph.path.parent / name, folder / target)
        files[target] = digest
    return graph.entry.model_copy(update={"files": files})


def _write_manifest(folder: Path, identity: Identity, graphs: dict[str, GraphEntry]) -> None:
    manifest = Manifest(
        model=identity.model,
        variant=identity.variant,
        framework=identity.framework,
        identity=dict(identity.facts),
        graphs=graphs,
    )
    write_manifest(folder / MANIFEST, manifest)
