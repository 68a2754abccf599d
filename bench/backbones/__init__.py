"""The table of backbones: one row a name, one file a source of weights.

A loader is `loader(places, device, *, settings...) -> bench.backbones.base.Backbone`; loaders of open names such as
`timm:<model>` take what follows the colon first: `loader(argument, places, device, *, settings...)`. A row with `fixed`
is a name for one such argument. A published backbone is an entry of `bench.backbones.catalogue`, which makes its row.
"""

from bench.backbones.catalogue import CATALOGUE
from bench.config.registry import Row

_TINY, _NAMED = 'bench.backbones.tiny.encoders:tiny', 'bench.backbones.named:named'
_TIMM, _OPEN_CLIP = 'bench.backbones.timm_source:timm', 'bench.backbones.open_clip_source:open_clip'

ROWS = (
    Row('timm', _TIMM, 'any timm model, weights from the hub or a local checkpoint', argument='model[.tag]'),
    Row('open_clip', _OPEN_CLIP, 'any open_clip image tower', argument='architecture/tag'),
    Row('hf-hub', 'bench.backbones.hf_hub:hf_hub', 'any timm or open_clip repository of the hub', argument='owner/name'),
    Row('tiny_simclr', _TINY, 'embedded CNN for 64 px, contrast of views; ships with the project', fixed='tiny_simclr'),
    Row('tiny_moco', _TINY, 'embedded CNN for 64 px, momentum contrast (the MoCo family)', fixed='tiny_moco'),
    Row('tiny_dino', _TINY, 'embedded ViT for 64 px, self-distillation (the DINO family)', fixed='tiny_dino'),
    Row('tiny_mim', _TINY, 'embedded ViT for 64 px, masked image modelling (the EVA family)', fixed='tiny_mim'),
    Row('tiny_clip', _TINY, 'embedded CNN for 64 px, contrast with captions (the CLIP family)', fixed='tiny_clip'),
    # the resolution is spelt out in the settings, so that it is in every cell's key
    *(
        Row(entry.name, _NAMED, entry.summary, fixed=entry.name, settings={
            'input_side': entry.input_side, 'revision': entry.origin.revision,
        })
        for entry in CATALOGUE.values()
    ),
)  # fmt: skip
