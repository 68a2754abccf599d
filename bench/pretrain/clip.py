"""CLIP: contrastive learning of pictures and captions (arXiv 2103.00020).

Shape suffixes: N pictures, L words, D embedding width.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones.tiny.networks import TinyNetwork
from bench.core.errors import InputError
from bench.core.ranges import Positive, PositiveInt
from bench.pretrain.streams import STREAMS, Stream
from bench.pretrain.train import Batch, Objective

_HEADS = 4


def clip(
    network: TinyNetwork,
    *,
    captions: Literal['plumage', 'wild'] = 'plumage',
    embed_dim: PositiveInt = 64,
    text_dim: PositiveInt = 96,
    text_depth: PositiveInt = 2,
    start_temperature: Positive = 0.1,
) -> Objective:
    """Return the objective for a network.

    Args:
      network: the loss uses only its `embed`.
      captions: whose captions, those of `pretrain.stream`.
      embed_dim: width of the shared space.
      text_dim: width of the text transformer, which is discarded after training.
      text_depth: number of blocks of the text transformer.
      start_temperature: initial temperature, which divides the cosines in the loss; it is learned.

    Raises:
      InputError: if the width of the text transformer is not divisible by the number of heads.
    """
    if text_dim % _HEADS:
        raise InputError(f'clip.text_dim: expected a multiple of {_HEADS} heads, got {text_dim}')
    text = _Text(text_dim, text_depth, embed_dim, STREAMS[captions])
    picture_head = nn.Linear(network.num_features, embed_dim)
    scale = nn.ParameterList([nn.Parameter(torch.tensor(math.log(1 / start_temperature)))])

    def loss(batch: Batch) -> Tensor:
        z_ND = F.normalize(picture_head(network.embed(batch.view())).float(), dim=1)
        words_NL = torch.from_numpy(STREAMS[captions].encode_words(batch.captions())).to(z_ND.device)
        t_ND = F.normalize(text(words_NL).float(), dim=1)
        logits_NN = z_ND @ t_ND.T * scale[0].exp().clamp(max=100)
        # pictures with the same caption have equal logits, so any of them can be the target
        answer_N = torch.arange(len(logits_NN), device=logits_NN.device)
        return (F.cross_entropy(logits_NN, answer_N) + F.cross_entropy(logits_NN.T, answer_N)) / 2

    return Objective(loss, nn.ModuleList([network, picture_head, text, scale]))


class _Text(nn.Module):
    """A small transformer over the words of a caption, followed by their mean."""

    def __init__(self, width: int, depth: int, out: int, stream: Stream) -> None:
        super().__init__()
        self.words = nn.Embedding(stream.num_words + 1, width, padding_idx=0)
        self.position_LD = nn.Parameter(0.02 * torch.randn(stream.max_words, width))
        layer = nn.TransformerEncoderLayer(width, _HEADS, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.leave = nn.Linear(width, out)

    def forward(self, words_NL: Tensor) -> Tensor:
        padding_NL = words_NL == 0
        f_NLD = self.blocks(self.words(words_NL) + self.position_LD, src_key_padding_mask=padding_NL)
        present_NL1 = (~padding_NL)[..., None].to(f_NLD.dtype)
        return self.leave((f_NLD * present_NL1).sum(dim=1) / present_NL1.sum(dim=1))
