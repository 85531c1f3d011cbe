"""The network that `bench export` is about: the zoo's, or made of the user's files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environment import package_versions
from bench.export_plan import ExportPlan
from bench.plan import BenchPlan
from bench.store import Identity
from bench.subject import (
    EXPORT_TOOLS,
    POST_PROCESSING,
    ZOO_SOURCE,
    Subject,
    find_subject,
    own_feeds,
    selected,
    weights_digest,
)
from runtime.errors import UsageError
from runtime.files import sha256_of_file

if TYPE_CHECKING:
    from exporters.source import Source


def export_subject(plan: ExportPlan) -> Subject:
    """The subject of `plan`; raises UsageError, StoreError or GraphError."""
    for path, subject_of in (
        (plan.saved_model, _saved_model_subject),
        (plan.keras, _keras_subject),
        (plan.frozen, _frozen_subject),
    ):
        if path is not None:
            return subject_of(plan, path)
    subject = _caffe_subject(plan) if plan.model is None else _named_subject(plan, plan.model)
    return subject if plan.post_processing else _without_post_processing(subject)


def _named_subject(plan: ExportPlan, model: str) -> Subject:
    request = BenchPlan(
        backend="",
        models=(model,),
        variant=plan.variant,
        frameworks=(plan.framework,) if plan.framework else (),
        weights=plan.weights,
        feeds=plan.feeds,
        data=plan.data,
    )
    return find_subject(request, model, plan.framework)


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


def _keras_subject(plan: ExportPlan, file: Path) -> Subject:
    if file.is_dir():
        raise UsageError(
            f"--keras {file} is a folder; give a .keras or .h5 file, or the folder to --saved-model"
        )

    def source() -> Source:
        from exporters.keras_source import keras_source

        return keras_source(file)

    facts = {"keras": sha256_of_file(_readable(file, "--keras"))}
    return _own_subject(plan, file.stem, "tensorflow", facts, source, ("h5py", "keras"))


def _frozen_subject(plan: ExportPlan, file: Path) -> Subject:
    from exporters.tensorflow_frozen import ends_of, frozen_source, read_graph_def

    facts = {
        "frozen graph": sha256_of_file(_readable(file, "--frozen")),
        "inputs": ",".join(plan.inputs),
        "outputs": ",".join(plan.outputs),
    }
    if not plan.inputs or not plan.outputs:
        raise UsageError(
            f"--frozen {file} does not say what its inputs and outputs are: name them, as in --inputs a:0,b:0"
            f" --outputs c:0; {ends_of(read_graph_def(file))}"
        )
    return _own_subject(
        plan, file.stem, "tensorflow", facts, lambda: frozen_source(file, plan.inputs, plan.outputs)
    )


def _caffe_subject(plan: ExportPlan) -> Subject:
    from bench.python_layers import read_python_layers

    prototxt, caffemodel = _readable(plan.prototxt, "--prototxt"), _readable(plan.caffemodel, "--caffemodel")
    python_layers = read_python_layers(plan.python_layers)

    def source() -> Source:
        from exporters.caffe.source import CaffeSource

        return CaffeSource.from_files(
            prototxt, caffemodel, python_layers=python_layers, input_shapes=plan.input_shapes
        )

    facts = {"prototxt": sha256_of_file(prototxt), "caffemodel": sha256_of_file(caffemodel)}
    for name, shape in sorted(plan.input_shapes.items()):
        facts[f"input {name}"] = ",".join(map(str, shape))
    if plan.python_layers:
        facts["python layers"] = " ".join(plan.python_layers)
    return _own_subject(plan, prototxt.stem, "caffe", facts, source)


def _own_subject(
    plan: ExportPlan,
    name: str,
    framework: str,
    facts: dict[str, str],
    source: Callable[[], Source],
    more_tools: tuple[str, ...] = (),
) -> Subject:
    """more_tools: packages besides the framework's own whose versions may change the bytes of the export."""
    from model_zoo import catalog

    tools = package_versions((*EXPORT_TOOLS[framework], *more_tools))
    facts = {**facts, "exporters": catalog.source_digest(), **{f"tool {n}": v for n, v in tools.items()}}
    return Subject(
        identity=Identity(name, "", framework, facts),
        task=None,
        source=source,
        feeds=own_feeds(plan.feeds, seed=0),
    )


def _without_post_processing(subject: Subject) -> Subject:
    """The subject cut; its outputs are no detections any more, so it has no task."""
    whole, identity = subject.source, subject.identity
    if whole is None:
        raise UsageError(
            f"--without-post-processing cuts off layers of a network, got {subject.title}, a graph already;"
            " leave it out"
        )

    def source() -> Source:
        from exporters.source import Cuttable

        made = whole()
        if not isinstance(made, Cuttable):
            raise UsageError(f"--without-post-processing cannot cut {subject.title}; leave it out")
        return made.without_post_processing()

    cut = replace(identity, facts={**identity.facts, POST_PROCESSING: "False"})
    feeds = selected(subject.feeds) if ZOO_SOURCE in identity.facts else subject.feeds
    return replace(subject, identity=cut, task=None, source=source, feeds=feeds)


def _readable(path: Path | None, flag: str) -> Path:
    if path is None or not path.is_file():
        raise UsageError(f"{flag} {path}: no such file")
    return path
