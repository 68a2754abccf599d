"""EuroSAT: ten kinds of land from Sentinel-2.

The release has no split. We use torchgeo's split, without its validation images.
"""

from pathlib import Path

from bench.core.errors import InputError, reason_of
from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents, Listing, names_in, remedy_for

DATASET = PublishedDataset(
    'eurosat', 'EuroSAT, ten kinds of land from Sentinel-2 (RGB, 64 px)',
    classes=10, train=16_200, test=5400, folder='eurosat', revision='split of arXiv 1911.06721',
    licence='MIT', licence_url='https://huggingface.co/datasets/torchgeo/eurosat',
    citation='Helber, Bischke, Dengel, Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and '
    'Land Cover Classification. IEEE JSTARS 12(7), 2019',
    files=(
        OfficialFile(
            'eurosat/EuroSAT.zip',
            'https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip',
            md5='c8fa014336c82ac7804f0398fcb19387', num_bytes=94_280_567, makes='eurosat/2750', inside='2750',
        ),
        OfficialFile(
            'eurosat/eurosat-train.txt',
            'https://hf.co/datasets/torchgeo/eurosat/resolve/1ce6f1bfb56db63fd91b6ecc466ea67f2509774c/eurosat-train.txt',
            md5='908f142e73d6acdf3f482c5e80d851b1', num_bytes=314_000,
        ),
        OfficialFile(
            'eurosat/eurosat-test.txt',
            'https://hf.co/datasets/torchgeo/eurosat/resolve/1ce6f1bfb56db63fd91b6ecc466ea67f2509774c/eurosat-test.txt',
            md5='7ae5ab94471417b6e315763121e67c5f', num_bytes=104_000,
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the split given by the two lists, in their order. The lists name images without the folder."""
    kinds = names_in(root / '2750', root=root)
    train, test = (_listing(root, f'eurosat-{split}.txt', kinds) for split in ('train', 'test'))
    return Contents(train, test, kinds)


def _listing(root: Path, name: str, kinds: list[str]) -> Listing:
    try:
        files = (root / name).read_text(encoding='ascii').split()
    except (OSError, UnicodeError) as error:
        got = f'{reason_of(error)}; {remedy_for(root)}'
        raise InputError(f'{root / name}: expected the official list, got: {got}') from error
    shown = [file.rpartition('_')[0] for file in files]
    if unknown := sorted(set(shown) - set(kinds)):
        got = f'{unknown[0]!r} in {name}; {remedy_for(root)}'
        raise InputError(f'eurosat: expected images of {", ".join(kinds)}, got {got}')
    paths = [f'2750/{kind}/{file}' for kind, file in zip(shown, files, strict=True)]
    return Listing(paths, [kinds.index(kind) for kind in shown])
