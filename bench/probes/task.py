"""The input of a probe protocol, and the test of the trained probes: once, at the end.

Shape suffixes: R repeats (probe seeds), B batch, N images, C classes, D feature width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.backbones.base import Backbone
from bench.core.types import Interpolation, ProbeScore, Split
from bench.features.store import FeatureStore
from bench.features.views import CenterView

PROBE_VERSION = 1


@dataclass(frozen=True)
class ProbeTask:
    """The input of a protocol.

    `train` is the distilled set as a split; `is_full` says whether it is the whole training split. `targets_NC` are its
    labels as distributions. If they are None, the hard labels of `train` are used, and `targets_of` makes them one-hot batch
    by batch.

    `real` is the training split of the data set, and `own_N` says which of its images `train` consists of (None: synthesised
    ones). Protocols use them only to choose a setting, never to train.
    """

    train: Split
    targets_NC: np.ndarray | None
    is_full: bool
    test: Split
    backbone: Backbone
    store: FeatureStore
    title: str = ''
    real: Split | None = None
    own_N: np.ndarray | None = None

    @property
    def num_classes(self) -> int:
        return self.train.num_classes if self.targets_NC is None else self.targets_NC.shape[1]

    def targets_of(self, rows: Tensor | slice, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the targets of some images as distributions, in the shape of `rows` plus a last axis of classes."""
        if self.targets_NC is not None:
            return torch.from_numpy(self.targets_NC)[rows].to(device, dtype)
        picked = rows.numpy() if isinstance(rows, Tensor) else rows
        labels = torch.from_numpy(np.array(self.train.labels_N[picked], dtype=np.int64)).to(device)[..., None]
        return torch.zeros(*labels.shape[:-1], self.num_classes, dtype=dtype, device=device).scatter_(-1, labels, 1)


def score(
    task: ProbeTask, w_RCD: Tensor, b_RC: Tensor, *, curves: dict, interpolation: Interpolation | None = None,
    facts: dict[str, Any] | None = None,
) -> ProbeScore:  # fmt: skip
    """Test every repeat once, in blocks of test images.

    Args:
      task: the task of the probes.
      w_RCD: weights of all repeats.
      b_RC: biases of all repeats.
      curves: see `ProbeScore`.
      interpolation: filter of the test view; None is the backbone's own.
      facts: what the protocol reports beside the score.

    Raises:
      FloatingPointError: if a weight is not finite.
    """
    has_top5 = w_RCD.shape[1] > 5
    hits_RNK = ranked_hits(task, task.test, w_RCD, b_RC, count=5 if has_top5 else 1, interpolation=interpolation)
    if not np.isfinite(w_RCD.cpu().numpy()).all():
        raise FloatingPointError('the probe weights are not finite; its features or learning rate are out of range')
    top5_R = hits_RNK.any(axis=2).mean(axis=1) if has_top5 else None
    facts = {'num_train': len(task.train), **(facts or {})}
    return ProbeScore(correct_RN=hits_RNK[:, :, 0], top5_R=top5_R, curves=curves, facts=facts)


def ranked_hits(
    task: ProbeTask, split: Split, w_RCD: Tensor, b_RC: Tensor, *, count: int = 1, interpolation: Interpolation | None = None
) -> np.ndarray:
    """Return hits_RNK: whether the k-th most probable class, k < `count`, is an image's own, in test views of a split."""
    view = CenterView(task.backbone.input_side, interpolation or task.backbone.interpolation)
    f_ND = task.store.features(split, task.backbone, view)[0]
    labels_N = torch.from_numpy(np.asarray(split.labels_N)).to(w_RCD.device)
    blocks = []
    for rows in torch.arange(len(f_ND)).split(4096):
        f_BD = torch.from_numpy(np.array(f_ND[rows.numpy()])).to(w_RCD)
        logits_RBC = torch.einsum('bd,rcd->rbc', f_BD, w_RCD) + b_RC[:, None]
        ranked_RBK = logits_RBC.topk(count, dim=-1).indices
        blocks.append((ranked_RBK == labels_N[rows.to(labels_N.device)][None, :, None]).cpu())
    return torch.cat(blocks, dim=1).numpy()
