"""What code makes the numbers: its hashes, its versions and small known answers, kept in tests/code_versions.json.

    python -m tests.code_versions                     says what changed
    python -m tests.code_versions --confirm="why"     keeps the new hashes, with a reason of one line

Whoever changes code that makes numbers either raises its version (numbers change: VERSION in a method's file or in
`methods/_synthesis`, `version` in the row of a protocol, VERSION of a view, CODE_VERSION of features, READING_RULES) or
leaves it (numbers are the same). `--confirm` is then right in both cases: where the version stays, the known answers must.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from conftest import toy_module
from PIL import Image

from bench.config import registry, source
from bench.core.hashing import hash_bytes, numpy_generator
from bench.core.types import Split
from bench.datasets import images as files
from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task, needs_of
from bench.features import store
from bench.features.encode import encode
from bench.features.views import CenterView, RandomView
from bench.probes.task import ProbeTask

KEPT = Path(__file__).with_suffix('.json')
# Answers are of float32 through a network; another processor differs by less.
TOLERANCE = 5e-3
# Settings under which a method or a protocol takes a fraction of a second.
_SMALL = {
    'num_updates': 6, 'parameterization': 'pixels', 'num_views': 2, 'num_augmentations': 2, 'learning_rate': 0.05,
    'log_every': 1, 'checkpoint_every': None, 'epochs': 20, 'repeats': 2,
    # the defaults of before, at which the first answers were kept
    'frame': 'whole', 'interpolation': None, 'overhang': False, 'level_delay': 0, 'drop_last': False, 'class_balanced': True,
}  # fmt: skip


@dataclass(frozen=True)
class Product:
    """What makes numbers: the addresses of its definitions, its version, and what it answers to a small question."""

    addresses: tuple[str, ...]
    version: Any
    answer: Any

    @property
    def hash(self) -> str:
        return hash_bytes(source.built_in_hash(address).encode() for address in self.addresses)


def products() -> dict[str, Product]:
    """Return every product by name: the one place that says where the code of each lies."""
    found = {
        'center view': Product(('bench.features.views:CenterView',), CenterView.VERSION, center_view),
        'random view': Product(('bench.features.views:RandomView',), RandomView.VERSION, random_view),
        'features': Product(
            ('bench.features.encode:encode', 'bench.backbones.base:Backbone', 'bench.backbones.base:frozen_backbone'),
            store.CODE_VERSION, encoded,
        ),
        'reading of images': Product(('bench.datasets.images:to_rgb',), files.READING_RULES, read),
    }  # fmt: skip
    for kind, answer in (('method', distilled), ('protocol', probed)):
        rows = [row for row in registry.rows(kind).values() if isinstance(row.target, str)]
        for target in sorted({row.target for row in rows}):
            # a variant has its base's code; of protocols with one function the first
            row = next(row for row in rows if row.target == target and (kind == 'protocol' or not variant(row)))
            name = row.name if kind == 'method' else target.partition(':')[2]
            found[f'{kind} {name}'] = Product((target,), source.version_of(row), lambda row=row, ask=answer: ask(row))
    return found


def variant(row: registry.Row) -> bool:
    return row.name != row.target.partition(':')[2]


# --- small questions ----------------------------------------------------------------------------------------------------


def picture() -> Image.Image:
    """Return a picture of 40 x 24 pixels whose colours tell where a pixel lies."""
    y, x = np.mgrid[0:24, 0:40]
    return Image.fromarray(np.stack([6 * x, 10 * y, 3 * (x + y)], axis=-1).astype(np.uint8))


def means(x_CHW: torch.Tensor) -> list[float]:
    """Return the mean of each channel and of its right and lower half, where white is 1."""
    x_CHW = x_CHW.double() / (255 if x_CHW.dtype is torch.uint8 else 1)
    _, height, width = x_CHW.shape
    parts = (x_CHW, x_CHW[:, :, width // 2 :], x_CHW[:, height // 2 :])
    return [value for part in parts for value in part.mean(dim=(1, 2)).tolist()]


def center_view() -> list[float]:
    return means(CenterView(16, 'bilinear')(picture(), index=0, view=0))


def random_view() -> list[float]:
    view = RandomView(16, 'bicubic', seed=5, noise_std=0.2, noise_mean=0.1, noise_prob=0.5)
    uncropped = RandomView(16, 'bilinear', seed=5, crop=False)
    return [value for number in range(4) for v in (view, uncropped) for value in means(v(picture(), index=3, view=number))]


def encoded() -> list[float]:
    toy = toy_module()
    split = toy.toy_data(None).test
    backbone = toy.toy_net(None, torch.device('cpu'))
    f_ND = torch.cat(list(encode(split, backbone, CenterView(8, 'bilinear'), views=range(1))))
    return f_ND.double().mean(dim=0).tolist() + f_ND.double().std(dim=0).tolist()


def read() -> list[float]:
    grey_HW = np.arange(960).reshape(24, 40)
    images = [
        picture(), picture().convert('L'), picture().convert('P'), Image.fromarray((68 * grey_HW).astype(np.uint16)),
        Image.fromarray((grey_HW / 960).astype(np.float32)), Image.fromarray(grey_HW.astype(np.float32) / 4),
        Image.merge('RGBA', [*picture().split(), picture().split()[0]]),
    ]  # fmt: skip
    return [float(value) / 255 for image in images for value in np.asarray(files.to_rgb(image)).mean(axis=(0, 1))]


def distilled(row: registry.Row) -> list[float]:
    """Return the places of chosen images, or loss and mean colours of synthetic ones."""
    toy = toy_module()
    train, backbone = toy.toy_data(None, num_classes=3).train, toy.toy_net(None, torch.device('cpu'))
    with tempfile.TemporaryDirectory() as folder:
        task = Task(train=train, ipc=2, seed=1, backbone=backbone, store=store.FeatureStore(Path(folder)))
        if needs_of(row.load()).of:
            wanted = np.stack([np.asarray(train.images[i].resize((9, 9))) for i in (3, 5, 9, 11, 14, 18)])
            task = replace(task, source_set=DistilledSet(np.repeat(np.arange(3), 2), images_NHWC=255 - wanted // 2))
        made = row.load()(task, **{**row.defaults(), **{k: v for k, v in _SMALL.items() if k in row.defaults()}})
    if made.indices_N is not None:
        return made.indices_N.tolist()
    return [made.facts['final_meta_loss'], *(made.images_NHWC.mean(axis=(1, 2)) / 255).ravel().tolist()]


class Normal:
    """A feature store of made-up features whose classes overlap, so that many test images are in doubt."""

    def features(self, split: Split, backbone: Any, view: Any, *, num_views: int = 1) -> np.ndarray:
        f_VND = numpy_generator('known', split.name).normal(size=(num_views, len(split), 8)).astype(np.float32)
        return f_VND + 1.5 * np.eye(8, dtype=np.float32)[split.labels_N]


def probed(row: registry.Row) -> list[float]:
    """Return mean accuracies of some hundred test images, and the last training loss where there is a curve."""
    names = tuple('abcdefg')
    train, test, real = (
        Split(name, (), numpy_generator('known', name, 'labels').integers(0, 7, count), names, name)
        for name, count in (('train', 70), ('test', 800), ('real', 400))
    )
    backbone = toy_module().toy_net(None, torch.device('cpu'))
    task = ProbeTask(
        train=train, targets_NC=None, is_full=False, test=test, backbone=backbone, store=Normal(), real=real
    )
    small = {name: value for name, value in _SMALL.items() if name in row.defaults()}
    more = {'rate_per_256': 0.05} if 'rate_per_256' in row.defaults() else {}
    score = row.load()(task, **{**row.defaults(), **small, **more})
    losses = [points[-1][1] for points in score.curves.values()]
    return [*score.correct_RN.mean(axis=1).tolist(), *score.top5_R.tolist(), *losses]


# --- what is kept -------------------------------------------------------------------------------------------------------


def kept() -> dict[str, dict[str, Any]]:
    return json.loads(KEPT.read_text(encoding='utf-8')) if KEPT.is_file() else {}


def same(answer: list[float], other: list[float]) -> bool:
    return len(answer) == len(other) and bool(np.allclose(answer, other, rtol=TOLERANCE, atol=TOLERANCE))


def changed(product: Product, entry: dict[str, Any] | None) -> str:
    """Return in one line what is not as kept, '' where all is."""
    if entry is None:
        return 'new'
    if product.version != entry['version']:
        return f'version {product.version}, kept is {entry["version"]}'
    return 'other code' if product.hash != entry['hash'] else ''


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.code_versions')
    parser.add_argument('--confirm', metavar='WHY', help='keep the hashes as they are now, with a reason of one line')
    why = parser.parse_args().confirm
    entries, now = kept(), products()
    odd = {name: said for name, product in now.items() if (said := changed(product, entries.get(name)))}
    for name, said in odd.items():
        print(f'{name}: {said}')
        entry, product = entries.get(name), now[name]
        if why:
            answer = product.answer()
            if entry and entry['version'] == product.version and not same(answer, entry['answer']):
                print(f'{name}: other numbers than before at one version: raise its version (see the head of {__file__})')
                return 1
            entries[name] = {
                'version': product.version, 'hash': product.hash, 'why': why, 'answer': [float(f'{x:.7g}') for x in answer],
            }  # fmt: skip
    if why:
        lines = [f' {json.dumps(name)}: {json.dumps(entries[name])}' for name in sorted(now)]
        KEPT.write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')
        print(f'{len(now)} products are kept as they are now')
        return 0
    print(f'{len(now) - len(odd)} of {len(now)} products are as kept')
    return 1 if odd or entries.keys() - now.keys() else 0


if __name__ == '__main__':
    sys.exit(main())
