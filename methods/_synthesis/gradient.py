"""The closed-form gradient of a linear probe, and the meta-loss that compares two such gradients.

For features f, probe weights W and bias 0 the cross-entropy gradient is `E = (softmax(f W^T) - y) * weight`,
`G_W = E^T f`, `G_b = sum E`: an ordinary differentiable function of f, so matching gradients needs no double backward.

Shape suffixes: P probes, N samples, C classes, D feature width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Number of logits of all probes held at once (64 MiB). More samples are split into blocks, recomputed in the backward pass.
_ELEMENTS = 1 << 24


def probe_gradient(f_ND: Tensor, y_NC: Tensor, w_PCD: Tensor, *, weights_N: Tensor | float | None = None) -> Tensor:
    """Return the cross-entropy gradient of P linear probes with bias 0; the gradient of the bias is the last column.

    Args:
      f_ND: features; the result is differentiable with respect to them.
      y_NC: targets, rows sum to 1 (one-hot or soft).
      w_PCD: weights of the probes.
      weights_N: weight per sample, or one weight for all; over the whole batch they sum to 1. None means 1 / N.

    Returns:
      g_PCD with D + 1 columns: `[G_W, G_b]`.
    """
    weights_N = 1 / len(f_ND) if weights_N is None else weights_N
    weights_N = weights_N if isinstance(weights_N, Tensor) else torch.full_like(f_ND[:, 0], weights_N)
    rows = max(1, _ELEMENTS // (len(w_PCD) * y_NC.shape[1]))
    if len(f_ND) <= rows:
        return _of_block(f_ND, y_NC, weights_N, w_PCD)

    def of_block(*block: Tensor) -> Tensor:
        return checkpoint(_of_block, *block, w_PCD, use_reentrant=False, preserve_rng_state=False)

    return sum(map(of_block, f_ND.split(rows), y_NC.split(rows), weights_N.split(rows)), start=torch.zeros(()))


def _of_block(f_ND: Tensor, y_NC: Tensor, weights_N: Tensor, w_PCD: Tensor) -> Tensor:
    logits_PNC = torch.einsum('nd,pcd->pnc', f_ND, w_PCD)
    error_PNC = (torch.softmax(logits_PNC, dim=-1) - y_NC) * weights_N[:, None]
    return torch.einsum('pnc,nd->pcd', error_PNC, F.pad(f_ND, (0, 1), value=1.0))


def gradient_distance(g_PCD: Tensor, target_PCD: Tensor) -> Tensor:
    """Return `1 - cos` of the flattened gradients, in [0, 2], averaged over the P probes (arXiv 2511.16674, section 3)."""
    return 1 - F.cosine_similarity(g_PCD.flatten(1), target_PCD.flatten(1), dim=1).mean()


def random_probes(
    count: int, *, num_classes: int, dim: int, sigma: float, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return w_PCD ~ N(0, sigma^2) on the generator's device. The draws are the same for every `dtype`."""
    return sigma * torch.randn(count, num_classes, dim, generator=generator, device=generator.device).to(dtype)
