"""The registry rows of the backbones, one per name.

A loader is `loader(places, device, *, settings...) -> bench.backbones.base.Backbone`; loaders of open names such as
`timm:<model>` take the part after the colon first: `loader(argument, places, device, *, settings...)`. A row with `fixed`
is a name for one such argument. The rows of published backbones are made from `bench.backbones.catalogue`.
"""

from functools import partial

from bench.backbones.catalogue import CATALOGUE
from bench.backbones.tiny.facts import INPUT_SIDE
from bench.config.registry import Row

_tiny = partial(Row, target='bench.backbones.tiny.encoders:tiny', input_side=INPUT_SIDE)
_NAMED = 'bench.backbones.named:named'
_TIMM, _OPEN_CLIP = 'bench.backbones.timm_source:timm', 'bench.backbones.open_clip_source:open_clip'

ROWS = (
    Row('timm', _TIMM, 'any timm model, weights from the hub or a local checkpoint', argument='model[.tag]'),
    Row('open_clip', _OPEN_CLIP, 'any open_clip image tower', argument='architecture/tag'),
    Row('hf-hub', 'bench.backbones.hf_hub:hf_hub', 'any timm or open_clip repository on the hub', argument='owner/name'),
    _tiny('tiny_simclr', summary='embedded CNN for 64 px, contrast of two views (the SimCLR family)', fixed='tiny_simclr'),
    _tiny('tiny_moco', summary='embedded CNN for 64 px, momentum contrast (the MoCo family)', fixed='tiny_moco'),
    _tiny('tiny_dino', summary='embedded ViT for 64 px, self-distillation (the DINO family)', fixed='tiny_dino'),
    _tiny('tiny_mim', summary='embedded ViT for 64 px, masked image modelling (the EVA family)', fixed='tiny_mim'),
    _tiny('tiny_clip', summary='embedded CNN for 64 px, contrast with captions (the CLIP family)', fixed='tiny_clip'),
    _tiny('wild_moco', summary='embedded CNN for 64 px, momentum contrast on random birds, whitened', fixed='wild_moco'),
    _tiny('wild_dino', summary='embedded ViT for 64 px, self-distillation on random birds, whitened', fixed='wild_dino'),
    _tiny('wild_clip', summary='embedded CNN for 64 px, captions of random birds, whitened', fixed='wild_clip'),
    # the resolution is an explicit setting, so that it is part of every cell's key
    *(
        Row(published.name, _NAMED, published.summary, fixed=published.name, settings={
            'input_side': published.input_side, 'revision': published.origin.revision,
        })
        for published in CATALOGUE.values()
    ),
)  # fmt: skip
