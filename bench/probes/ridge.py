"""The convex probe: ridge regression onto the labels.

Shape suffixes: N images, B images in a block, C classes, D feature width.
"""

import numpy as np
import torch
from torch import Tensor

from bench.core.ranges import Positive
from bench.core.types import ProbeScore
from bench.features.views import CenterView
from bench.probes.task import ProbeTask, score

# Number of images whose features and targets are held in float64 at a time.
_BLOCK = 8192


def ridge_probe(task: ProbeTask, *, strength: Positive = 0.1) -> ProbeScore:
    """Solve ridge regression onto the labels from test-view features. It is convex and deterministic; there is one repeat.

    Features are centred on the mean of the distilled set and divided by their root mean square norm, so that a fixed
    `strength` means the same for every backbone, method and ipc. Targets are centred too.

    Args:
      task: see `ProbeTask`.
      strength: added to the eigenvalues of the mean outer product of the scaled features.
    """
    backbone = task.backbone
    view = CenterView(backbone.input_side, backbone.interpolation)
    f_ND = task.store.features(task.train, backbone, view)[0]
    count, dim = f_ND.shape
    blocks = [slice(first, min(first + _BLOCK, count)) for first in range(0, count, _BLOCK)]

    def features(rows: slice) -> Tensor:
        return torch.from_numpy(np.array(f_ND[rows])).double()

    def targets(rows: slice) -> Tensor:
        return task.targets_of(rows, dtype=torch.float64, device=torch.device('cpu'))

    mean_D = sum(features(rows).sum(dim=0) for rows in blocks) / count
    mean_C = sum(targets(rows).sum(dim=0) for rows in blocks) / count
    # filled in place: small arrays allocated between the blocks would prevent the reuse of the blocks' freed memory
    square_N = torch.empty(count, dtype=torch.float64)
    for rows in blocks:
        square_N[rows] = (features(rows) - mean_D).square().sum(dim=1)
    scale = square_N.mean().sqrt().clamp(min=1e-12)
    if count <= dim:
        whole = slice(0, count)
        z_ND = (features(whole) - mean_D) / scale
        gram_NN = z_ND @ z_ND.T + strength * count * torch.eye(count, dtype=torch.float64)
        w_DC = z_ND.T @ torch.linalg.solve(gram_NN, targets(whole) - mean_C)
    else:
        gram_DD, moment_DC = torch.zeros(dim, dim).double(), torch.zeros(dim, task.num_classes).double()
        for rows in blocks:
            z_BD = (features(rows) - mean_D) / scale
            gram_DD += z_BD.T @ z_BD
            moment_DC += z_BD.T @ (targets(rows) - mean_C)
        w_DC = torch.linalg.solve(gram_DD + strength * count * torch.eye(dim, dtype=torch.float64), moment_DC)
    w_CD = (w_DC / scale).T
    b_C = mean_C - w_CD @ mean_D
    like = torch.from_numpy(np.array(f_ND[:0])).to(backbone.device)
    return score(task, w_CD[None].to(like), b_C[None].to(like), curves={})
