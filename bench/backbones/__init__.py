"""The table of backbones: one row a name, one file a source of weights.

A loader is `loader(places, device, *, settings...) -> bench.backbones.base.Backbone`; loaders of open names such as
`timm:<model>` take what follows the colon first: `loader(argument, places, device, *, settings...)`. A row with `fixed`
is a name for one such argument.
"""

from bench.registry import Row

_TINY = 'bench.backbones.tiny:tiny'
_TIMM, _OPEN_CLIP = 'bench.backbones.timm_source:timm', 'bench.backbones.open_clip_source:open_clip'

ROWS = (
    Row('timm', _TIMM, 'any timm model, weights from the hub or a local safetensors file', argument='model[.tag]'),
    Row('open_clip', _OPEN_CLIP, 'any open_clip image tower', argument='architecture/tag'),
    Row('tiny_simclr', _TINY, 'embedded CNN for 64 px, contrast of views; ships with the project', fixed='tiny_simclr'),
    Row('tiny_moco', _TINY, 'embedded CNN for 64 px, momentum contrast (the MoCo family)', fixed='tiny_moco'),
    Row('tiny_dino', _TINY, 'embedded ViT for 64 px, self-distillation (the DINO family)', fixed='tiny_dino'),
    Row('tiny_mim', _TINY, 'embedded ViT for 64 px, masked image modelling (the EVA family)', fixed='tiny_mim'),
    Row('tiny_clip', _TINY, 'embedded CNN for 64 px, contrast with captions (the CLIP family)', fixed='tiny_clip'),
    Row('clip_vitb16', _OPEN_CLIP, 'CLIP ViT-B/16, OpenAI weights', fixed='ViT-B-16/openai'),
    Row(
        'dinov2_vitb14', _TIMM, 'DINOv2 ViT-B/14 at 224 px',
        fixed='vit_base_patch14_dinov2.lvd142m', settings={'input_side': 224},
    ),
    Row(
        'eva02_vitb14', _TIMM, 'EVA-02 ViT-B/14, masked image modelling on ImageNet-22k',
        fixed='eva02_base_patch14_224.mim_in22k',
    ),
)
