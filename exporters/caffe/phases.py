"""Which layers belong to the network that is run: Caffe's include and exclude rules, for phase TEST.

The rules are those of Net::FilterNet and Net::StateMeetsRule in BVLC/caffe's net.cpp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporters.caffe.schema import schema
from runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporters.caffe.caffe_pb2 import LayerParameter, NetState, NetStateRule, V1LayerParameter


def in_test_phase(layers: Iterable[LayerParameter], state: NetState) -> list[LayerParameter]:
    """The layers that a TEST network of `state`'s level and stages holds.

    The state's own phase is not asked: a training prototxt may say TRAIN, and only inference is exported.
    """
    return [layer for layer in layers if included(layer, state)]


def included(layer: LayerParameter | V1LayerParameter, state: NetState) -> bool:
    """Whether a TEST network of `state` holds the layer; raises GraphError for rules of both kinds."""
    if layer.include and layer.exclude:
        raise GraphError(
            f"layer {layer.name!r} has both include and exclude rules; Caffe allows one kind a layer"
        )
    if layer.include:
        return any(_meets(rule, state) for rule in layer.include)
    return not any(_meets(rule, state) for rule in layer.exclude)


def _meets(rule: NetStateRule, state: NetState) -> bool:
    stages = set(state.stage)
    return (
        (not rule.HasField("phase") or rule.phase == schema().TEST)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )
