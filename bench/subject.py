"""What is measured: a model of the zoo, a graph of the user's, or a bundle, seen alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environment import package_version
from bench.feeds import ArrayFeeds, SyntheticFeeds, read_npz
from bench.manifest import MANIFEST, GraphEntry, Manifest, read_manifest
from bench.plan import BenchPlan
from bench.selected_feeds import SelectedFeeds
from bench.store import Identity, StoredGraph
from calibration.precision import Precision
from model_zoo import catalog
from model_zoo.samples import LazyFeeds
from model_zoo.spec import CLIPS_LITTLE, Ask, FeedSource, Task, Told, Variant
from runtime.errors import StoreError, UsageError, unknown_name
from runtime.files import sha256_of_file
from runtime.tensors import TensorSpec

if TYPE_CHECKING:
    from exporters.source import Source

_COMMON_TOOLS = ("numpy", "onnx", "onnx-ir", "onnxscript", "protobuf")
EXPORT_TOOLS: Mapping[str, tuple[str, ...]] = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf2onnx", *_COMMON_TOOLS),
    "caffe": _COMMON_TOOLS,
}
"""Packages whose versions may change the bytes of an export, by framework."""

ZOO_SOURCE = "zoo_source"
"""Name of the identity's fact that only models of the zoo have: the digest of its code."""

POST_PROCESSING = "post-processing"
"""Name of the identity's fact of networks without theirs: their outputs are not what the task reads."""

ZOO_WEIGHTS = "of the zoo"
"""What the identity says of weights that are no file of the user's: seeded, or an archive's."""

FeedMaker = Callable[[tuple[TensorSpec, ...]], FeedSource]


@dataclass(frozen=True)
class Subject:
    """One network.

    source: makes the source model, for an export; None where `ready` holds the FP32 graph.
    ready:  graphs that are there already, by precision.
    own:    the precision of the graph all others are made from; other than FP32 only for a file of the
            user's, and then nothing is made from it.
    feeds:  from the FP32 graph's input specs to the samples.
    calibration_method: how INT8 ranges are found unless the plan says otherwise.
    trained: whose weights it has, where it comes with some.
    sizes:   of the graph's open dimensions besides the batch, by name, where they are known.
    tell:    what it says in words; None where it says nothing that way.
    batch_dependent: whether a sample's answer depends on the others of its batch.
    """

    identity: Identity
    task: Task | None
    source: Callable[[], Source] | None
    feeds: FeedMaker
    ready: Mapping[Precision, StoredGraph] = field(default_factory=dict)
    weights_sha256: str | None = None
    own: Precision = Precision.FP32
    calibration_method: str = CLIPS_LITTLE
    trained: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    tell: Callable[[Path | None, Ask], Iterator[Told]] | None = None
    batch_dependent: bool = False

    @property
    def title(self) -> str:
        """Name, variant and framework, as shown while working."""
        name = "-".join(filter(None, (self.identity.model, self.identity.variant)))
        return f"{name} ({self.identity.framework})"


def find_subject(plan: BenchPlan, model: str, framework: str | None) -> Subject:
    """The subject behind one value of --model; raises UsageError, StoreError or GraphError."""
    path = Path(model)
    if path.is_dir() and (path / MANIFEST).exists():
        return _bundle_subject(path, plan)
    if path.suffix == ".onnx" or path.exists() or os.sep in model:
        return _file_subject(path, plan)
    return _zoo_subject(plan, model, framework)


def _zoo_subject(plan: BenchPlan, model: str, framework: str | None) -> Subject:
    spec = catalog.get_model(model)
    network = catalog.get_variant(spec, plan.variant)
    weights = plan.weights
    chosen = framework if framework is not None else next(iter(network.build))
    if chosen not in network.build:
        raise unknown_name(f"framework of {model}", chosen, network.build)
    digest = weights_digest(weights) if weights else None
    facts = {
        ZOO_SOURCE: catalog.source_digest(),
        "weights": digest or ZOO_WEIGHTS,
        **{
            f"tool {name}": version
            for name in EXPORT_TOOLS.get(chosen, ())
            if (version := package_version(name))
        },
    }
    return Subject(
        # However a user asks for the reference, it is the same graph in the store.
        identity=Identity(model, "" if plan.variant == spec.reference else plan.variant, chosen, facts),
        task=network.task,
        calibration_method=network.calibration_method,
        source=lambda: network.build[chosen](weights),
        feeds=_zoo_feeds(network, chosen, plan),
        weights_sha256=digest,
        trained="" if weights else network.trained,
        sizes=network.sizes,
        tell=network.tell,
        batch_dependent=network.batch_dependent,
    )


def weights_named(subject: Subject, weights: Path | None) -> str:
    """A line that says whose weights a subject has; `weights`: the file the user gave."""
    if weights is not None:
        return f"weights: {weights.name}"
    if subject.weights_sha256 is not None:
        return f"weights: the file with SHA-256 {subject.weights_sha256}"
    return f"weights: {subject.trained}" if subject.trained else "seeded weights: the answer means nothing"


def weights_digest(weights: Path) -> str:
    """SHA-256 over a weights file, a checkpoint's files, or a folder; raises UsageError if there is none."""
    files = _weight_files(weights)
    if not files:
        raise UsageError(
            f"--weights {weights}: no such file, folder or checkpoint prefix; give an existing one"
        )
    if len(files) == 1:
        return sha256_of_file(files[0])
    import hashlib

    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name} {sha256_of_file(file)}\n".encode())
    return total.hexdigest()


def _weight_files(weights: Path) -> list[Path]:
    if weights.is_file() and weights.suffix != ".index":
        return [weights]
    if weights.is_dir():
        return sorted(path for path in weights.rglob("*") if path.is_file())
    prefix = weights.with_suffix("") if weights.suffix == ".index" else weights
    return sorted(prefix.parent.glob(f"{prefix.name}.index")) + sorted(
        prefix.parent.glob(f"{prefix.name}.data-*")
    )


def _refuse_flags(model: Path, given: Mapping[str, object]) -> None:
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} is for models of the zoo; {model} is a graph already, leave {flag} out")


def _file_subject(path: Path, plan: BenchPlan) -> Subject:
    zoo_only = {"--framework": plan.frameworks, "--variant": plan.variant, "--weights": plan.weights}
    _refuse_flags(path, {**zoo_only, "--data": plan.data})
    if not path.is_file():
        found = f"a folder without a {MANIFEST}" if path.is_dir() else "no such file"
        raise UsageError(
            f"--model {path}: {found}; give an ONNX file, a folder of `bench export`,"
            f" or a name: {', '.join(sorted(catalog.MODELS))}"
        )
    entry = _file_entry(path)
    own = Precision(entry.precision)
    return Subject(
        identity=Identity(path.stem, "", "onnx", {own.value: entry.sha256}),
        task=None,
        source=None,
        feeds=own_feeds(plan.feeds, plan.seed),
        ready={own: StoredGraph(path.resolve(), entry)},
        own=own,
    )


def _file_entry(path: Path) -> GraphEntry:
    from bench.own_precision import own_precision
    from runtime.graphs import load

    entry = GraphEntry.of_file(path, own_precision(load(path)))
    return entry.model_copy(update={"provenance": {"file": path.name}})


def _bundle_subject(folder: Path, plan: BenchPlan) -> Subject:
    _refuse_flags(
        folder, {"--framework": plan.frameworks, "--variant": plan.variant, "--weights": plan.weights}
    )
    manifest = read_manifest(folder / MANIFEST)
    if manifest is None or Precision.FP32 not in manifest.graphs:
        raise UsageError(
            f"{folder / MANIFEST} is not a manifest of `bench export` with an fp32 graph; export again"
        )
    ready = {
        Precision(entry.precision): StoredGraph(folder.resolve() / f"{name}.onnx", entry)
        for name, entry in manifest.graphs.items()
    }
    for graph in ready.values():
        _verify(folder, graph.entry)
    network = _zoo_network(manifest)
    weights = manifest.identity.get("weights", ZOO_WEIGHTS)
    return Subject(
        identity=Identity(
            manifest.model, manifest.variant, manifest.framework, {"fp32": ready[Precision.FP32].entry.sha256}
        ),
        task=network.task if network and POST_PROCESSING not in manifest.identity else None,
        source=None,
        feeds=_bundle_feeds(manifest, network, plan),
        ready=ready,
        weights_sha256=None if weights == ZOO_WEIGHTS else weights,
        tell=network.tell if network else None,
    )


def _zoo_network(manifest: Manifest) -> Variant | None:
    """The zoo's description of a bundle's network; None where the bundle was made from a user's model."""
    if ZOO_SOURCE not in manifest.identity:
        return None
    return catalog.get_variant(catalog.get_model(manifest.model), manifest.variant)


def _bundle_feeds(manifest: Manifest, network: Variant | None, plan: BenchPlan) -> FeedMaker:
    if network is None:
        return own_feeds(plan.feeds, plan.seed)
    feeds = _zoo_feeds(network, manifest.framework, plan)
    return selected(feeds) if POST_PROCESSING in manifest.identity and plan.feeds is None else feeds


def selected(feeds: FeedMaker) -> FeedMaker:
    """Of the zoo's samples of a whole network, the inputs that one without post-processing still has."""
    return lambda specs: SelectedFeeds(feeds(specs), tuple(spec.name for spec in specs))


def _verify(folder: Path, entry: GraphEntry) -> None:
    for file, digest in entry.files.items():
        try:
            found = sha256_of_file(folder / file)
        except OSError as error:
            raise StoreError(
                f"cannot read {folder / file}: {error.strerror or error}; export again"
            ) from error
        if found != digest:
            raise StoreError(
                f"{folder / file} has digest {found[:12]}, its manifest says {digest[:12]}; export again"
            )


def _zoo_feeds(network: Variant, framework: str, plan: BenchPlan) -> FeedMaker:
    """The zoo's own samples, or the user's: of the data set's kind, or arrays as the graph takes them."""

    def feeds(specs: tuple[TensorSpec, ...]) -> FeedSource:
        if plan.feeds is not None:
            return _checked(read_npz(plan.feeds, specs), network)
        found = network.feeds(framework)
        if plan.data is None:
            return found
        if not isinstance(found, LazyFeeds):
            raise UsageError(
                f"--data {plan.data}: {network.description} takes no samples from files; leave --data out"
            )
        return found.with_data(plan.data)

    return feeds


def _checked(feeds: ArrayFeeds, network: Variant) -> ArrayFeeds:
    """`feeds`, if the network's reference would take them; raises FeedError."""
    if network.check is not None:
        network.check(feeds.arrays)
    return feeds


def own_feeds(npz: Path | None, seed: int) -> FeedMaker:
    """Samples for a graph the zoo does not know: the user's file, or synthetic ones."""

    def feeds(specs: tuple[TensorSpec, ...]) -> FeedSource:
        return read_npz(npz, specs) if npz is not None else SyntheticFeeds(specs, seed)

    return feeds
