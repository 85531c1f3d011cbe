"""ResNet-101, the authors' v1; the paper lists it in its text, but not in Table I."""

from __future__ import annotations

from model_zoo.resnet import RESNET101
from model_zoo.resnet_model import model_of

SPEC = model_of(RESNET101, "ResNet-101", paper=None)
