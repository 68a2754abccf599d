"""The catalogue of published backbones, with all facts of each. Imports neither torch nor a model library.

A name stands for an architecture, its weights, its preprocessing *and* the feature that is used. docs/backbones.md is
generated from this catalogue. tests/test_backbone_catalogue.py compares the facts with those of the libraries, and so does
every load.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.backbones.tiny.facts import NETWORK_OF
from bench.backbones.weights import Origin, local_file
from bench.core.tables import markdown

_Triple = tuple[float, float, float]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_NORMALISATIONS = {IMAGENET: 'ImageNet', OPENAI: 'CLIP'}

_CLS = 'CLS token after the final norm'
_MEAN = 'mean of the patch tokens after the final norm'
_MEAN_THEN_NORM = 'mean of the patch tokens, then the norm'
_PROJECTED = 'CLS token after the final norm, projected to the space shared with text; not normalised'
_ATTENTION = 'patch tokens pooled by attention (the head trained against text); not normalised'


@dataclass(frozen=True)
class PublishedBackbone:
    """The facts of a published backbone.

    `loader` builds it (a key of `bench.backbones.named.LOADERS`), `argument` is its name there, and `settings` are passed
    to it. They always set the pooling, so that a change of a library's default has no effect. `origin` says where the
    weights are published; `megabytes` is the size of the file, computed from its parameters. The origin's revision is the
    default of the setting `revision`. It is the main branch, because no commit was verified when this was written.

    `feature` describes the output and `width` is its dimension. `input_side` is in pixels; `mean` and `std` are per RGB
    channel for images in [0, 1].
    """

    name: str
    summary: str
    loader: str
    argument: str
    origin: Origin
    megabytes: int
    feature: str
    width: int
    input_side: int
    mean: _Triple
    std: _Triple
    interpolation: str
    licence: str
    citation: str
    settings: dict[str, Any] = field(default_factory=dict)


def _timm(
    name: str, summary: str, argument: str, *, pool: str, feature: str, width: int, licence: str, citation: str,
    megabytes: int, url: str = '', input_side: int = 224, colours: tuple[_Triple, _Triple] = IMAGENET,
    interpolation: str = 'bicubic',
) -> PublishedBackbone:  # fmt: skip
    origin = Origin(url=url) if url else Origin(f'timm/{argument}', ('model.safetensors', 'pytorch_model.bin'))
    return PublishedBackbone(
        name, summary, 'timm', argument, origin, megabytes, feature, width, input_side, *colours, interpolation, licence,
        citation, settings={'model_kwargs': {'global_pool': pool}},
    )


def _clip(name: str, size: str, architecture: str, repository: str, *, width: int, megabytes: int) -> PublishedBackbone:
    origin = Origin(repository, ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin'))
    return PublishedBackbone(
        name, f'CLIP {size}, OpenAI weights', 'open_clip', f'{architecture}/openai', origin, megabytes, _PROJECTED, width,
        224, *OPENAI, 'bicubic', 'MIT', 'Radford et al. 2021, arXiv 2103.00020',
    )


def _dinov2(name: str, size: str, model: str, *, width: int, megabytes: int) -> PublishedBackbone:
    return _timm(
        name, f'DINOv2 {size} at 224 px', f'{model}.lvd142m', pool='token', feature=_CLS, width=width, megabytes=megabytes,
        licence='Apache-2.0', citation='Oquab et al. 2023, arXiv 2304.07193',
    )


def _eva02(name: str, size: str, model: str, *, width: int, megabytes: int) -> PublishedBackbone:
    return _timm(
        name, f'EVA-02 {size}, masked image modelling on ImageNet-22k', f'{model}.mim_in22k', pool='avg',
        feature=_MEAN_THEN_NORM, width=width, megabytes=megabytes, colours=OPENAI, licence='MIT',
        citation='Fang et al. 2023, arXiv 2303.11331',
    )


_MOCOV3 = PublishedBackbone(
    'mocov3_vitb16', 'MoCo v3 ViT-B/16, momentum contrast on ImageNet-1k, 300 epochs', 'mocov3', 'vit_base_patch16_224',
    # the file holds two encoders, a predictor and the optimizer state; the size is computed from their parameters
    Origin(url='https://dl.fbaipublicfiles.com/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar'), 1730,
    _CLS, 768, 224, *IMAGENET, 'bilinear', 'CC-BY-NC-4.0', 'Chen et al. 2021, arXiv 2104.02057',
    settings={'model_kwargs': {'global_pool': 'token', 'num_classes': 0}},
)  # fmt: skip

_ENTRIES = (
    _clip('clip_vitb16', 'ViT-B/16', 'ViT-B-16', 'timm/vit_base_patch16_clip_224.openai', width=512, megabytes=598),
    _clip('clip_vitb32', 'ViT-B/32', 'ViT-B-32', 'timm/vit_base_patch32_clip_224.openai', width=512, megabytes=605),
    _clip('clip_vitl14', 'ViT-L/14', 'ViT-L-14', 'timm/vit_large_patch14_clip_224.openai', width=768, megabytes=1710),
    # published at 518 px; position embeddings are resampled
    _dinov2('dinov2_vits14', 'ViT-S/14', 'vit_small_patch14_dinov2', width=384, megabytes=88),
    _dinov2('dinov2_vitb14', 'ViT-B/14', 'vit_base_patch14_dinov2', width=768, megabytes=346),
    _dinov2('dinov2_vitl14', 'ViT-L/14', 'vit_large_patch14_dinov2', width=1024, megabytes=1217),
    # timm's default here is the mean of the patches
    _timm(
        'dinov3_vitb16', 'DINOv3 ViT-B/16 at 256 px', 'vit_base_patch16_dinov3.lvd1689m', pool='token', feature=_CLS,
        width=768, input_side=256, megabytes=343, licence='dinov3-license', citation='Siméoni et al. 2025, arXiv 2508.10104',
    ),
    _eva02('eva02_vitt14', 'ViT-Ti/14', 'eva02_tiny_patch14_224', width=192, megabytes=22),
    _eva02('eva02_vits14', 'ViT-S/14', 'eva02_small_patch14_224', width=384, megabytes=86),
    _eva02('eva02_vitb14', 'ViT-B/14', 'eva02_base_patch14_224', width=768, megabytes=343),
    _eva02('eva02_vitl14', 'ViT-L/14', 'eva02_large_patch14_224', width=1024, megabytes=1213),
    _MOCOV3,
    _timm(
        'dino_vitb16', 'DINO ViT-B/16, self-distillation on ImageNet-1k', 'vit_base_patch16_224.dino', pool='token',
        feature=_CLS, width=768, megabytes=343, licence='Apache-2.0', citation='Caron et al. 2021, arXiv 2104.14294',
    ),
    _timm(
        'mae_vitb16', 'MAE ViT-B/16, masked autoencoder on ImageNet-1k', 'vit_base_patch16_224.mae', pool='token',
        feature=_CLS, width=768, megabytes=343, licence='CC-BY-NC-4.0', citation='He et al. 2021, arXiv 2111.06377',
    ),
    # open_clip has the same image tower, plus a text tower three times its size
    _timm(
        'siglip2_vitb16', 'SigLIP 2 ViT-B/16, image tower', 'vit_base_patch16_siglip_224.v2_webli', pool='map',
        feature=_ATTENTION, width=768, colours=HALF, megabytes=372, licence='Apache-2.0',
        citation='Tschannen et al. 2025, arXiv 2502.14786',
    ),
    # the file holds both encoders and the optimizer state; the size is computed from their parameters
    _timm(
        'ijepa_vith14', 'I-JEPA ViT-H/14, joint embedding on ImageNet-1k', 'vit_huge_patch14_gap_224.in1k_ijepa', pool='avg',
        feature=_MEAN, width=1280, megabytes=10400, url='https://dl.fbaipublicfiles.com/ijepa/IN1K-vit.h.14-300e.pth.tar',
        licence='CC-BY-NC-4.0', citation='Assran et al. 2023, arXiv 2301.08243',
    ),
    _timm(
        'resnet50_supervised', 'ResNet-50 trained with labels on ImageNet-1k: the control', 'resnet50.tv_in1k', pool='avg',
        feature='mean over positions of the last stage', width=2048, interpolation='bilinear', megabytes=102,
        licence='BSD-3-Clause', citation='He et al. 2015, arXiv 1512.03385',
    ),
)  # fmt: skip
CATALOGUE = {published.name: published for published in _ENTRIES}


def whereabouts(name: str, weights_root: Path | None = None) -> str:
    """Return where the weights of a backbone are on this machine: `absent` with the download size, or '' if unknown."""
    if name in NETWORK_OF:
        return 'in the project'
    if name not in CATALOGUE:
        return ''
    published = CATALOGUE[name]
    if local_file(name, weights_root):
        return 'in weights_root'
    if published.origin.cached():
        return "in the hub's cache" if published.origin.repository else "in torch's cache"
    return f'absent, {published.megabytes} MB'


def catalogue_table() -> str:
    """Return the markdown table of published backbones that docs/backbones.md shows."""
    head = (
        'name', 'loader, model and tag', 'feature', 'width', 'side', 'normalisation', 'resize', 'weights', 'licence', 'from'
    )  # fmt: skip
    rows = []
    for published in CATALOGUE.values():
        origin = published.origin
        known = _NORMALISATIONS.get((published.mean, published.std), f'{published.mean[0]:g} / {published.std[0]:g}')
        weights = f'[{origin.repository or origin.url.rpartition("/")[2]}]({origin.address}), {published.megabytes} MB'
        rows.append((
            f'`{published.name}`', f'{published.loader} `{published.argument}`', published.feature, str(published.width),
            str(published.input_side), known, published.interpolation, weights, published.licence, published.citation,
        ))  # fmt: skip
    return markdown(head, rows, right={head.index('width'), head.index('side')})
