"""Pre-training of the embedded encoders without labels. Each recipe is one file; the rows below name them.

    python -m bench.pretrain --gin_file=gin/pretrain/tiny_dino.gin

A recipe is `recipe(network, *, settings...) -> bench.pretrain.train.Objective`: the loss, with the heads that it needs.
"""

from bench.config.registry import Row

ROWS = (
    Row('simclr', 'bench.pretrain.simclr:simclr', 'contrast of two views within a batch (arXiv 2002.05709)'),
    Row('moco', 'bench.pretrain.moco:moco', 'contrast with a momentum encoder (MoCo v3, arXiv 2104.02057)'),
    Row('dino', 'bench.pretrain.dino:dino', 'self-distillation from a momentum teacher over crops (arXiv 2104.14294)'),
    Row('mim', 'bench.pretrain.mim:mim', 'masked image modelling: reconstruct hidden patches (MAE, arXiv 2111.06377)'),
    Row('clip', 'bench.pretrain.clip:clip', 'contrast of pictures with their captions (CLIP, arXiv 2103.00020)'),
)
