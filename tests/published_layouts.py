"""The contents of published checkpoints: keys and shapes of the original releases, at any size.

They were taken from the releases' own code; the values are random.
"""

import json

import torch


def dense(key, out, into, bias=True):
    return {f'{key}.weight': (out, into), **({f'{key}.bias': (out,)} if bias else {})}


def norm(key, width):
    return {f'{key}.weight': (width,), f'{key}.bias': (width,)}


def batch_norm(key, width, affine=True):
    counted = {f'{key}.running_mean': (width,), f'{key}.running_var': (width,), f'{key}.num_batches_tracked': ()}
    return {**(norm(key, width) if affine else {}), **counted}


def below(prefix, keys):
    return {f'{prefix}{key}': shape for key, shape in keys.items()}


def vit(width, depth, patch, side, *, prefix_tokens=1, scales=False):
    """The keys that DINO, MAE, MoCo v3, I-JEPA and (with layer scales) DINOv2 share with timm."""
    positions = (side // patch) ** 2 + prefix_tokens
    keys = {'cls_token': (1, 1, width)} if prefix_tokens else {}
    keys |= {'pos_embed': (1, positions, width), 'patch_embed.proj.weight': (width, 3, patch, patch)}
    keys |= {'patch_embed.proj.bias': (width,), **norm('norm', width)}
    for i in range(depth):
        block = {**norm('norm1', width), **norm('norm2', width), **dense('attn.qkv', 3 * width, width)}
        block |= {**dense('attn.proj', width, width), **dense('mlp.fc1', 4 * width, width)}
        block |= dense('mlp.fc2', width, 4 * width)
        block |= {'ls1.gamma': (width,), 'ls2.gamma': (width,)} if scales else {}
        keys |= below(f'blocks.{i}.', block)
    return keys


def dinov2(width, depth, patch, side):
    return {**vit(width, depth, patch, 518 if side == 224 else side, scales=True), 'mask_token': (1, width)}


def dinov3(width, depth, patch, side):
    keys = {**vit(width, depth, patch, side, scales=True), 'storage_tokens': (1, 4, width), 'mask_token': (1, width)}
    del keys['pos_embed']
    return {**keys, 'rope_embed.periods': (16,), **{f'blocks.{i}.attn.qkv.bias_mask': (3 * width,) for i in range(depth)}}


def eva02(width, depth, patch, side):
    """Tiny and small have one matrix for queries, keys and values and no norms within blocks, base and large do."""
    inner, positions = int(width * 8 / 3), (side // patch) ** 2
    keys = {key: shape for key, shape in vit(width, depth, patch, side).items() if not key.startswith('blocks.')}
    keys |= {'mask_token': (1, 1, width), **dense('lm_head', 1024, width)}
    keys |= {f'rope.freqs_{wave}': (positions, 64) for wave in ('cos', 'sin')}
    for i in range(depth):
        block = {**norm('norm1', width), **norm('norm2', width), 'attn.q_bias': (width,), 'attn.v_bias': (width,)}
        block |= {**dense('attn.proj', width, width), **dense('mlp.w3', width, inner)}
        block |= {f'attn.rope.freqs_{wave}': (positions, 64) for wave in ('cos', 'sin')}
        if width < 768:
            block |= {**dense('attn.qkv', 3 * width, width, bias=False), **dense('mlp.w12', 2 * inner, width)}
        else:
            block |= {f'attn.{part}_proj.weight': (width, width) for part in 'qkv'}
            block |= {**dense('mlp.w1', inner, width), **dense('mlp.w2', inner, width)}
            block |= {**norm('mlp.ffn_ln', inner)}
        keys |= below(f'blocks.{i}.', block)
    return keys


def mocov3(width, depth, patch, side):
    """Two encoders with projection heads and a predictor, as the parallel module of training holds them."""
    hidden = 4096 if width == 768 else 8
    head = {**dense('0', hidden, width, False), **batch_norm('1', hidden), **dense('3', hidden, hidden, False)}
    head |= {**batch_norm('4', hidden), **dense('6', 256, hidden, False), **batch_norm('7', 256, affine=False)}
    encoder = {**vit(width, depth, patch, side), **below('head.', head)}
    predictor = {**dense('0', hidden, 256, False), **batch_norm('1', hidden), **dense('3', 256, hidden, False)}
    predictor |= batch_norm('4', 256, affine=False)
    parts = {**below('base_encoder.', encoder), **below('momentum_encoder.', encoder), **below('predictor.', predictor)}
    return below('module.', parts)


def clip(width, depth, patch, side, *, embedding, text_width, text_depth, vocabulary=49408, context=77):
    """OpenAI's release: an image tower below `visual.`, the text tower and three numbers beside it."""

    def blocks(width, depth):
        block = {**norm('ln_1', width), **norm('ln_2', width), **dense('attn.out_proj', width, width)}
        block |= {'attn.in_proj_weight': (3 * width, width), 'attn.in_proj_bias': (3 * width,)}
        block |= {**dense('mlp.c_fc', 4 * width, width), **dense('mlp.c_proj', width, 4 * width)}
        return {key: shape for i in range(depth) for key, shape in below(f'transformer.resblocks.{i}.', block).items()}

    visual = {'class_embedding': (width,), 'positional_embedding': ((side // patch) ** 2 + 1, width)}
    visual |= {'proj': (width, embedding), 'conv1.weight': (width, 3, patch, patch), **norm('ln_pre', width)}
    visual |= {**norm('ln_post', width), **blocks(width, depth)}
    text = {'positional_embedding': (context, text_width), 'text_projection': (text_width, embedding), 'logit_scale': ()}
    text |= {'token_embedding.weight': (vocabulary, text_width), **norm('ln_final', text_width)}
    numbers = {'input_resolution': (), 'context_length': (), 'vocab_size': ()}
    return {**below('visual.', visual), **text, **blocks(text_width, text_depth), **numbers}


def siglip2(width, depth, patch, side):
    """open_clip's file: timm's tower below `visual.trunk.`, without a class token and with a pooling head."""
    keys = vit(width, depth, patch, side, prefix_tokens=0)
    pool = {'latent': (1, 1, width), **dense('q', width, width), **dense('kv', 2 * width, width), **norm('norm', width)}
    pool |= {**dense('proj', width, width), **dense('mlp.fc1', 4 * width, width), **dense('mlp.fc2', width, 4 * width)}
    text = {'logit_scale': (1,), 'logit_bias': (1,), 'text.token_embedding.weight': (256, width)}
    return {**below('visual.trunk.', {**keys, **below('attn_pool.', pool)}), **text}


def resnet(widths=(64, 128, 256, 512), layers=(3, 4, 6, 3)):
    """torchvision's bottlenecks."""
    keys, into = {'conv1.weight': (64, 3, 7, 7), **batch_norm('bn1', 64), **dense('fc', 1000, 4 * widths[-1])}, 64
    for stage, (width, count) in enumerate(zip(widths, layers, strict=True), start=1):
        for i in range(count):
            block = {'conv1.weight': (width, into, 1, 1), 'conv2.weight': (width, width, 3, 3)}
            block |= {'conv3.weight': (4 * width, width, 1, 1), **batch_norm('bn1', width), **batch_norm('bn2', width)}
            block |= batch_norm('bn3', 4 * width)
            if i == 0:
                block |= {'downsample.0.weight': (4 * width, into, 1, 1), **batch_norm('downsample.1', 4 * width)}
            keys |= below(f'layer{stage}.{i}.', block)
            into = 4 * width
    return keys


# Where the weights stand in the file; MAE's, EVA-02's and DINO's wrappers differ from release to release.
_WRAPPED = {
    'mocov3_vitb16': lambda state: {'epoch': 300, 'arch': 'vit_base', 'state_dict': state, 'optimizer': {'state': {}}},
    'mae_vitb16': lambda state: {'model': state},
    'eva02_vitb14': lambda state: {'module': state},
    'dino_vitb16': lambda state: {'teacher': below('backbone.', state), 'epoch': 400},
    'ijepa_vith14': lambda state: {'encoder': below('module.', state), 'target_encoder': {}, 'opt': {}, 'epoch': 300},
}
_SIZES = {'vitt': (192, 12), 'vits': (384, 12), 'vitb': (768, 12), 'vitl': (1024, 24), 'vith': (1280, 32)}
_CLIP_TEXT = {
    'clip_vitb16': {'embedding': 512, 'text_width': 512, 'text_depth': 12},
    'clip_vitb32': {'embedding': 512, 'text_width': 512, 'text_depth': 12},
    'clip_vitl14': {'embedding': 768, 'text_width': 768, 'text_depth': 12},
}  # fmt: skip
_LAYOUTS = {
    'clip': clip, 'dinov2': dinov2, 'dinov3': dinov3, 'eva02': eva02, 'mocov3': mocov3, 'dino': vit, 'mae': vit,
    'siglip2': siglip2, 'resnet50': lambda *_: resnet(),
    'ijepa': lambda *sizes: vit(*sizes, prefix_tokens=0),
}  # fmt: skip


def wrapped(name, state):
    """Return what the published file of a row holds, given its state dict."""
    return _WRAPPED.get(name, dict)(state)


def published(name, make, *, side):
    """Return what the published file of a row holds, at its real size; `make(shape)` is each tensor."""
    family, _, model = name.partition('_')
    width, depth = _SIZES.get(model[:4], (0, 0))
    keys = _LAYOUTS[family](width, depth, int(model[4:]) if width else 0, side, **_CLIP_TEXT.get(name, {}))
    return wrapped(name, {key: make(shape) for key, shape in keys.items()})


def random_state(keys, seed=0):
    """Return weights as after training: norms near one, the rest small."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for key, shape in sorted(keys.items()):
        value = 0.05 * torch.randn(shape, generator=generator)
        scale = key.endswith('running_var') or key.endswith('weight') and any(p in key for p in ('norm', 'ln_', 'bn'))
        state[key] = 1 + value if scale else value
    return state


def add_small_clip(path, monkeypatch):
    """Register an architecture of one narrow layer with open_clip, named as its new configuration file is."""
    import open_clip
    from open_clip import factory

    monkeypatch.setattr(factory, '_MODEL_CONFIGS', dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, '_MODEL_CONFIG_PATHS', list(factory._MODEL_CONFIG_PATHS))
    config = {
        'embed_dim': 6,
        'vision_cfg': {'image_size': 32, 'layers': 1, 'width': 64, 'patch_size': 16},
        'text_cfg': {'context_length': 8, 'vocab_size': 20, 'width': 8, 'heads': 2, 'layers': 1},
    }
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
