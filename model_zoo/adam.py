"""Adam (Kingma and Ba 2015, "Adam: a method for stochastic optimization") over TensorFlow variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runtime.tensors import Array


@dataclass(frozen=True)
class Adam:
    """Steps that change `variables`, with the moments in `state`.

    rate:  how far a value moves in a step, at most about.
    units: by the name of a variable, what its steps are measured in, in a form that fits its shape. A weight
           of an input that runs to thousands then moves in thousandths, as if the input had been scaled.
    """

    variables: Mapping[str, Any]
    rate: float = 0.001
    units: Mapping[str, Array] = field(default_factory=dict)
    first_decay: float = 0.9
    second_decay: float = 0.999
    epsilon: float = 1e-8
    state: Sequence[Any] = field(init=False)

    def __post_init__(self) -> None:
        import tensorflow as tf

        moments = [
            tf.Variable(np.zeros(v.shape, np.float32)) for v in self.variables.values() for _ in range(2)
        ]
        object.__setattr__(self, "state", (tf.Variable(0.0), *moments))

    def step(self, gradients: Mapping[str, Any]) -> None:
        """Move every variable against its gradient; may be traced."""
        import tensorflow as tf

        steps, moments = self.state[0], self.state[1:]
        count = steps.assign_add(1.0)
        first_share = 1 - tf.pow(self.first_decay, count)
        second_share = 1 - tf.pow(self.second_decay, count)
        for name, first, second in zip(self.variables, moments[::2], moments[1::2], strict=True):
            unit = self.units.get(name, np.float32(1))
            gradient = tf.convert_to_tensor(gradients[name]) * unit
            mean = first.assign(self.first_decay * first + (1 - self.first_decay) * gradient)
            square = second.assign(self.second_decay * second + (1 - self.second_decay) * gradient * gradient)
            move = mean / first_share / (tf.sqrt(square / second_share) + self.epsilon)
            self.variables[name].assign_sub(self.rate * move * unit)
