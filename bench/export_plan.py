"""What the user asked `bench export` for, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.export_checks import Check
from bench.plan import CalibrationPlan
from calibration.precision import Precision
from runtime.errors import UsageError


@dataclass(frozen=True)
class ExportPlan:
    """One `bench export`: where from, where to, what.

    model, saved_model, keras, frozen, prototxt: exactly one of them.
    inputs, outputs: tensors of the frozen graph, which does not say what its ends are.
    post_processing: False cuts off the last layers of a detector of Caffe or the zoo.
    python_layers:   as --python-layer takes them (bench.python_layers).
    input_shapes:    other shapes than the prototxt's, by input.
    checks:          what is compared besides the outputs.
    allow_unchecked: write a graph that its framework cannot run here, and say so in the manifest.
    """

    out: Path
    model: str | None = None
    variant: str = ""
    framework: str | None = None
    weights: Path | None = None
    saved_model: Path | None = None
    keras: Path | None = None
    frozen: Path | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    prototxt: Path | None = None
    caffemodel: Path | None = None
    post_processing: bool = True
    python_layers: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    allow_unchecked: bool = False
    feeds: Path | None = None
    data: Path | None = None
    precisions: tuple[Precision, ...] = ()
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)

    def __post_init__(self) -> None:
        sources = {
            "--model": self.model,
            "--saved-model": self.saved_model,
            "--keras": self.keras,
            "--frozen": self.frozen,
            "--prototxt": self.prototxt,
        }
        given = [flag for flag, value in sources.items() if value is not None]
        if len(given) != 1:
            *most, last = sources
            raise UsageError(
                f"export wants one of {', '.join(most)} and {last}; got {', '.join(given) or 'none'}"
            )
        if (self.prototxt is None) != (self.caffemodel is None):
            raise UsageError("a Caffe network is two files: give --prototxt and --caffemodel together")
        self._refuse_flags_of_others(given[0])

    def _refuse_flags_of_others(self, source: str) -> None:
        changes = {
            "--python-layer": (self.python_layers, "--prototxt"),
            "--input-shape": (self.input_shapes, "--prototxt"),
            "--inputs": (self.inputs, "--frozen"),
            "--outputs": (self.outputs, "--frozen"),
        }
        for flag, (value, read) in changes.items():
            if value and source != read:
                raise UsageError(f"{flag} changes how a {read} is read; with {source} leave it out")
        if not self.post_processing and source not in ("--model", "--prototxt"):
            raise UsageError(
                f"--without-post-processing cuts networks of Caffe and of the zoo; with {source} leave it out"
            )

    def all_precisions(self) -> tuple[Precision, ...]:
        """FP32 first, since every other graph is made from it."""
        return tuple(dict.fromkeys((Precision.FP32, *self.precisions)))


def read_tensor_names(flag: str, values: Sequence[str]) -> tuple[str, ...]:
    """From names, with commas between several in a value; raises UsageError for an empty or repeated one."""
    names = tuple(name.strip() for value in values for name in value.split(","))
    for index, name in enumerate(names):
        if not name:
            raise UsageError(f"{flag} {','.join(values)}: a name is empty; give NAME or NAME,NAME,...")
        if name in names[:index]:
            raise UsageError(f"{flag} {','.join(values)} names {name!r} twice; give it once")
    return names


def read_input_shapes(specs: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """From NAME=1,3,600,800 to shapes by input; raises UsageError for another form or a name given twice."""
    shapes: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        name, _, sizes = spec.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not name or not shape:
            raise UsageError(
                f"--input-shape {spec}: give NAME=SIZE,SIZE,... with every size of the input, such as"
                " data=1,3,600,800"
            )
        if name in shapes:
            raise UsageError(f"--input-shape {spec} is the second shape for {name!r}; give one")
        shapes[name] = shape
    return shapes
