"""What MLPerf Inference asks of a model: a reference implementation's FP32 figure, and shares of it to keep.

Source: `accuracy-target` of tools/submission/submission_checker.py in mlcommons/inference, v0.7 to v6.1, each
as of the last round that had the model.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One task of MLPerf's.

    metric:    a name of model_zoo.metrics, or "" where the zoo has no such metric.
    title:     what MLPerf calls the metric.
    reference: the FP32 figure, in MLPerf's unit (per cent but for BLEU and DICE).
    gates:     shares of it of which a submission keeps one.
    """

    task: str
    model: str
    metric: str
    title: str
    reference: float
    gates: tuple[float, ...]

    def least(self, gate: float) -> float:
        """What a submission has to reach for this share."""
        return self.reference * gate


TARGETS = (
    Target("resnet", "resnet50 v1.5", "top-1", "acc", 76.46, (0.99,)),
    Target("mobilenet", "mobilenet v1", "top-1", "acc", 71.68, (0.98,)),
    Target("ssd-small", "ssd-mobilenet v1", "coco-box-ap", "mAP", 22.0, (0.99,)),
    Target("ssd-large", "ssd-resnet34", "coco-box-ap", "mAP", 20.0, (0.99,)),
    Target("retinanet", "retinanet", "coco-box-ap", "mAP", 37.55, (0.99,)),
    Target("gnmt", "gnmt", "bleu", "BLEU", 23.9, (0.99,)),
    Target("bert", "bert-large, SQuAD 1.1", "squad-f1", "F1", 90.874, (0.99, 0.999)),
    Target("dlrm", "dlrm", "auc", "AUC", 80.25, (0.99, 0.999)),
    Target("dlrm-v2", "dlrm-dcnv2", "auc", "AUC", 80.31, (0.99, 0.999)),
    # of the share of words that are right: 100 - WER, WER being 7.452
    Target("rnnt", "rnn-t", "", "100 - WER", 100 - 7.452, (0.99,)),
    Target("3d-unet", "3d-unet", "", "DICE", 0.8617, (0.99, 0.999)),
)


def target_of(task: str) -> Target | None:
    """MLPerf's task of this name; None where there is none."""
    return next((target for target in TARGETS if target.task == task), None)
