"""ArtBench-10: ten styles of art at 256 px."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents, Listing, names_in

DATASET = PublishedDataset(
    'artbench10', 'ArtBench-10, ten styles of art at 256 px',
    classes=10, train=50_000, test=10_000, folder='artbench-10-imagefolder-split',
    licence='fair use, as requested by WikiArt, the Ukiyo-e.org database and The Surrealism Website',
    licence_url='https://github.com/liaopeiyuan/artbench/blob/main/LICENSE',
    citation='Liao, Li, Liu, Keutzer: The ArtBench Dataset: Benchmarking Generative Models with '
    'Artworks. arXiv 2206.11404',
    files=(
        OfficialFile(
            'artbench-10-imagefolder-split.tar',
            'https://artbench.eecs.berkeley.edu/files/artbench-10-imagefolder-split.tar',
            md5='64f4d66dcf34b3c77e8c7d68fed2ec8c',
            makes='artbench-10-imagefolder-split', inside='artbench-10-imagefolder-split',
        ),
    ),
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split; classes and files are sorted by name."""
    styles = names_in(root / 'train', root=root)
    train, test = (_listing(root, split, styles) for split in ('train', 'test'))
    return Contents(train, test, [style.replace('_', ' ') for style in styles])


def _listing(root: Path, split: str, styles: list[str]) -> Listing:
    files, labels = [], []
    for label, style in enumerate(styles):
        found = names_in(root / split / style, root=root, ending='.jpg')
        files += [f'{split}/{style}/{file}' for file in found]
        labels += [label] * len(found)
    return Listing(files, labels)
