"""The probe without training: 1-nearest-neighbour accuracy of the test images among the distilled images.

Shape suffixes: N test images, T distilled images, B and U blocks of them, K nearest images, D feature width.
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.types import ProbeScore
from bench.features.views import CenterView
from bench.probes.task import ProbeTask

# Distilled and test images per block: their similarities take 134 MB in float64, however many images there are.
_BLOCK, _TEST_BLOCK = 8192, 2048


def nearest_probe(task: ProbeTask, *, metric: Literal['cosine', 'euclidean'] = 'cosine') -> ProbeScore:
    """Give each test image the class of the nearest distilled image, by test-view features. There is one repeat.

    The question of arXiv 2511.16674, Table 6, which does not name its metric. Top-5 counts a test image if one of its five
    nearest distilled images has its class. A soft label counts as its most probable class.

    Args:
      task: see `ProbeTask`.
      metric: 'cosine' compares directions, 'euclidean' distances; they agree on features of equal norm.

    Raises:
      FloatingPointError: if a feature is not finite.
    """
    backbone = task.backbone
    view = CenterView(backbone.input_side, backbone.interpolation)
    f_TD, f_ND = (task.store.features(split, backbone, view)[0] for split in (task.train, task.test))
    # in float64 the order of near images does not depend on the blocks or the machine; mps has no float64
    device = torch.device('cpu') if backbone.device.type == 'mps' else backbone.device
    labels_T = task.train.labels_N if task.targets_NC is None else task.targets_NC.argmax(axis=1)

    def block(array: np.ndarray, rows: Tensor) -> Tensor:
        f_D = torch.from_numpy(np.array(array[rows.numpy()])).to(device).double()
        return F.normalize(f_D, dim=1) if metric == 'cosine' else f_D

    count = min(5, len(f_TD))
    near_NK = torch.full((len(f_ND), count), -torch.inf, dtype=torch.float64, device=device)
    class_NK = torch.full((len(f_ND), count), -1, dtype=torch.int64, device=device)
    for rows_U in torch.arange(len(f_TD)).split(_BLOCK):
        f_UD, labels_U = block(f_TD, rows_U), torch.from_numpy(np.array(labels_T[rows_U.numpy()])).to(device)
        # half the squared distance is |x|^2 / 2 - t x, plus a constant of the test image t
        bias_U = -0.5 * f_UD.square().sum(dim=1) if metric == 'euclidean' else 0.0
        for rows_B in torch.arange(len(f_ND)).split(_TEST_BLOCK):
            near_BU = block(f_ND, rows_B) @ f_UD.T + bias_U
            best_BK, which_BK = near_BU.topk(min(count, len(rows_U)), dim=1)
            here_B = rows_B.to(device)
            best_BK = torch.cat([near_NK[here_B], best_BK], dim=1)
            class_BK = torch.cat([class_NK[here_B], labels_U[which_BK]], dim=1)
            near_NK[here_B], kept_BK = best_BK.topk(count, dim=1)
            class_NK[here_B] = class_BK.gather(1, kept_BK)
    if not near_NK.isfinite().all():
        raise FloatingPointError('a feature is not finite, so there is no nearest image')
    hits_NK = (class_NK.cpu() == torch.from_numpy(np.array(task.test.labels_N))[:, None]).numpy()
    top5_R = np.array([hits_NK.any(axis=1).mean()]) if task.num_classes > 5 else None
    return ProbeScore(correct_RN=hits_NK[None, :, 0], top5_R=top5_R, curves={}, facts={'num_train': len(f_TD)})
