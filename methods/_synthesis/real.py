"""The real side of a loss: features of the training images, cached or encoded when they are used, and statistics of them.

Shape suffixes: V views, N images, P probes, C classes, D feature width, B batch.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.hashing import derive_seed
from bench.distillation.task import Task
from bench.features.views import RandomView
from methods._synthesis.gradient import probe_gradient

# Number of feature rows per block of a gradient: bounds memory at ImageNet size.
_BLOCK = 16384
# Features up to this size are kept on the device; larger ones stay in the memory map.
_RESIDENT_BYTES = 4 << 30
# Number of cached views behind statistics of all real views, where updates take fresh views.
VIEWS_OF_STATISTICS = 10


@dataclass
class RealFeatures:
    """Features of the training split, which losses compare the synthetic features with.

    `view` and `num_views` define the cached random views, which are the same for every seed of the method. With None every
    use of an image encodes a new view of it. All other randomness comes from `generator`. It is on the device, so that
    drawing needs no transfer, and every process draws the same numbers. `drop_last` drops the rest of a shuffled pass that
    does not fill a batch.
    """

    task: Task
    view: RandomView
    num_views: int | None
    generator: torch.Generator
    drop_last: bool = False
    _order_N: Tensor | None = field(default=None, init=False)
    _next: int = field(default=0, init=False)
    _uses: int = field(default=0, init=False)
    _clusters: dict[int, Tensor] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.device = self.task.encoder.device
        self.dim, self.dtype = self.task.encoder.feature_dim, self.task.encoder.dtype
        self.num_classes = self.task.train.num_classes
        self.labels_N = torch.from_numpy(np.array(self.task.train.labels_N)).to(self.device)
        self.counts_C = torch.bincount(self.labels_N, minlength=self.num_classes)

    @cached_property
    def views_VND(self) -> '_CachedFeatures':
        """The cached features of random views."""
        count = self.num_views or VIEWS_OF_STATISTICS
        return _CachedFeatures(self.task.view_features(self.view, num_views=count), self.device)

    @cached_property
    def centre_ND(self) -> Tensor:
        """The features of the test view, on the device."""
        return torch.from_numpy(np.array(self.task.features())).to(self.device)

    def class_means(self, *, views: bool = False) -> Tensor:
        """Return the mean feature m_CD of each class: of the test view, or over the cached random views."""
        if not views:
            return self._means(self.centre_ND)
        rows_N = torch.arange(len(self.labels_N), device=self.device)
        each = [self._means(self.views_VND.rows(torch.full_like(rows_N, v), rows_N)) for v in range(len(self.views_VND))]
        return torch.stack(each).mean(dim=0)

    def covariance(self, mean_D: Tensor) -> Tensor:
        """Return the covariance s_DD of all cached views about `mean_D`, with equal weight per class."""
        weights_N = 1 / self.counts_C[self.labels_N].to(self.dtype) / (self.counts_C > 0).sum()
        total_DD = torch.zeros(self.dim, self.dim, device=self.device, dtype=self.dtype)
        for v in range(len(self.views_VND)):
            for rows in torch.arange(len(self.labels_N), device=self.device).split(_BLOCK):
                z_BD = self.views_VND.rows(torch.full_like(rows, v), rows) - mean_D
                total_DD += (weights_N[rows, None] * z_BD).T @ z_BD
        return total_DD / len(self.views_VND)

    def cluster_means(self, count: int) -> Tensor:
        """Return m_CKD, the means of `count` clusters per class (k-means in the test view), one target per synthetic image.

        A class with fewer images than clusters repeats them.
        """
        if count not in self._clusters:
            each = [_k_means(self.centre_ND[self.labels_N == c], count) for c in range(self.num_classes)]
            self._clusters[count] = torch.stack(each)
        return self._clusters[count]

    def batch(self, size: int | None) -> tuple[Tensor, Tensor]:
        """Draw one random view per image, for `size` images of a shuffled pass or (None) for all; return f_BD, labels_B."""
        rows_B = torch.arange(len(self.labels_N), device=self.device) if size is None else self.draw(size)
        return self._one_view(rows_B), self.labels_N[rows_B]

    def gradient(self, w_PCD: Tensor, *, batch_size: int | None, balanced: bool) -> Tensor:
        """Return the probes' gradient g_PCD, `[G_W, G_b]` (D + 1 columns), on one random view of each image.

        Args:
          w_PCD: the probes.
          batch_size: number of images from a shuffled pass, as in the release; None takes every image.
          balanced: give equal weight to classes; otherwise to images, as in the release.
        """
        rows_B = torch.arange(len(self.labels_N), device=self.device) if batch_size is None else self.draw(batch_size)
        counts_C = self.counts_C.clamp(min=1).to(self.dtype)
        weights_C = 1 / counts_C if balanced else torch.ones_like(counts_C)
        weights_B = weights_C[self.labels_N[rows_B]]
        weights_B = weights_B / weights_B.sum()
        total_PCD = w_PCD.new_zeros(*w_PCD.shape[:2], self.dim + 1)
        for block in torch.arange(len(rows_B), device=self.device).split(_BLOCK):
            rows = rows_B[block]
            y_BC = F.one_hot(self.labels_N[rows], self.num_classes).to(w_PCD)
            total_PCD += probe_gradient(self._one_view(rows), y_BC, w_PCD, weights_N=weights_B[block])
        return total_PCD

    def draw(self, count: int) -> Tensor:
        """Return the next `count` image indices of a shuffled pass.

        No image repeats before all others have been drawn. With `drop_last` a batch lies in one pass, if a pass is so long.
        """
        parts, total = [], len(self.labels_N)
        if self.drop_last and self._next + count > total >= count:
            self._next = total
        while count:
            if self._order_N is None or self._next == total:
                self._order_N = torch.randperm(total, generator=self.generator, device=self.device)
                self._next = 0
            part = self._order_N[self._next : self._next + count]
            parts.append(part)
            self._next += len(part)
            count -= len(part)
        return torch.cat(parts)

    def state(self) -> dict[str, Any]:
        """Return the random state that a resumed run needs to continue the same draws."""
        return {'generator': self.generator.get_state(), 'order_N': self._order_N, 'next': self._next, 'uses': self._uses}

    def restore(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state['generator'])
        self._order_N = None if state['order_N'] is None else state['order_N'].to(self.device)
        self._next = state['next']
        self._uses = state.get('uses', 0)

    def _one_view(self, rows_B: Tensor) -> Tensor:
        """Return f_BD of a random view of each image: one of the cached views, or a new one that no other use sees."""
        if self.num_views is None:
            view = replace(self.view, seed=derive_seed(self.view.seed, self.task.seed))
            self._uses += 1
            return self.task.fresh_features(view, rows_B.cpu().numpy(), number=self._uses - 1).to(self.device)
        views_B = torch.randint(self.num_views, rows_B.shape, generator=self.generator, device=self.device)
        return self.views_VND.rows(views_B, rows_B)

    def _means(self, f_ND: Tensor) -> Tensor:
        sums_CD = f_ND.new_zeros(self.num_classes, self.dim).index_add_(0, self.labels_N, f_ND)
        return sums_CD / self.counts_C.clamp(min=1)[:, None]


def _k_means(f_ND: Tensor, count: int, *, rounds: int = 20) -> Tensor:
    """Return the centres m_KD of Lloyd's algorithm with a greedy farthest-point initialisation; deterministic."""
    chosen = [int((f_ND - f_ND.mean(dim=0)).square().sum(dim=1).argmin())]
    nearest_N = (f_ND - f_ND[chosen[0]]).square().sum(dim=1)
    while len(chosen) < count:
        chosen.append(int(nearest_N.argmax()))
        nearest_N = torch.minimum(nearest_N, (f_ND - f_ND[chosen[-1]]).square().sum(dim=1))
    m_KD = f_ND[chosen].clone()
    if count == 1:
        return f_ND.mean(dim=0, keepdim=True)
    for _ in range(rounds):
        member_NK = F.one_hot(torch.cdist(f_ND, m_KD).argmin(dim=1), count).to(f_ND)
        sizes_K = member_NK.sum(dim=0)
        m_KD = torch.where(sizes_K[:, None] > 0, member_NK.T @ f_ND / sizes_K.clamp(min=1)[:, None], m_KD)
    return m_KD


class _CachedFeatures:
    """Cached features, gathered by view and image: on the device, or from the memory map if they are too large for it."""

    def __init__(self, f_VND: np.ndarray, device: torch.device) -> None:
        self.device = device
        resident = f_VND.nbytes <= _RESIDENT_BYTES
        self.f_VND = torch.from_numpy(np.array(f_VND)).to(device) if resident else f_VND

    def __len__(self) -> int:
        """Return the number of views."""
        return len(self.f_VND)

    def rows(self, views_B: Tensor, rows_B: Tensor) -> Tensor:
        """Return f_BD."""
        if isinstance(self.f_VND, Tensor):
            return self.f_VND[views_B, rows_B]
        return torch.from_numpy(self.f_VND[views_B.cpu().numpy(), rows_B.cpu().numpy()]).to(self.device)
