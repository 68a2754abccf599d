"""Estimate what the suites of the published tables cost: GPU hours, and gigabytes of features. Nothing is measured here.

    python -m benchmarks.paper_costs [--gin_file=gin/suites/paper_table5.gin] [--after=gin/suites/paper_table1.gin]

The heads of the gin files state these numbers (tests/test_published.py compares them). One 80 GB GPU (H100) and eight loader
workers are assumed; the release states half an hour for ten classes, DINOv2 and an RTX 4090, which is 39 TFLOP/s by the
formula here.

    a pass         GFLOP of one image at 224 px / 100 TFLOP/s. A multiply-add counts as two. The backward pass to the pixels
                   costs as much, and a chunked update has two forward passes.
    reading        250 photographs per worker and second (270 to 300 per core were measured), or 2,000 images that are in
                   memory, such as distilled ones (2,100 measured). Fewer than 512 images have one reader, others one per
                   256 (`bench.features.encode.workers_for`), which take 0.1 s to start. Reading and passes overlap.
    distilling     per update: the passes of its views, at least 0.1 s. Fresh views of real images are read and passed too.
    encoding       photographs for selection and pictures (1 view of the training images), the full-data probe (its pool) and
                   the test (1 view of the test images), and for LGM where its views are cached
    probes         `release-v1` encodes `repeats` x `epochs` views of each image of a small set, and reads selected
                   photographs anew for each. An optimizer step takes 2 ms.
    disk           4 bytes x width per cached view
"""

import math
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from bench.backbones.catalogue import CATALOGUE as BACKBONES
from bench.core import cli
from bench.core.paths import ROOT
from bench.core.tables import aligned
from bench.datasets.published.catalogue import CATALOGUE as DATASETS
from bench.pipeline.grid import RUN, Cell, grid

# of the forward pass of one image, by torch's FLOP counter
GFLOP = {'clip_vitb16': 35, 'mocov3_vitb16': 35, 'dinov2_vitb14': 46, 'eva02_vitb14': 46}
_GFLOP_PER_SECOND = 100_000
_WORKERS, _IMAGES_PER_WORKER, _STARTING = 8, 256, 0.1
_PHOTOGRAPHS, _HELD = 250, 2_000  # per worker and second
_LEAST_UPDATE, _STEP = 0.1, 0.002  # seconds
# methods that look at features of the training images
_SELECTORS = {'centroid', 'herding', 'k_center', 'neighbors'}


@dataclass(frozen=True)
class Cost:
    """Hours of one GPU, and gigabytes of cached features."""

    hours: float
    gigabytes: float

    def __str__(self) -> str:
        return f'{shown(self.hours)} GPU hours and {shown(self.gigabytes)} GB of features'


def cost(cells: list[Cell], *, after: list[Cell] | None = None) -> Cost:
    """Return what cells cost that start with empty folders, or in the folders of other cells that have run."""
    done = _parts(after or [])
    parts = [part for key, part in _parts(cells).items() if key not in done]
    return Cost(sum(part.hours for part in parts), sum(part.gigabytes for part in parts))


def shown(value: float) -> str:
    """Return a number with two significant digits."""
    return f'{float(f"{value:.2g}"):g}'


def _parts(cells: list[Cell]) -> dict[tuple[object, ...], Cost]:
    """Return the parts that are computed once, whichever cells need them."""
    found: dict[tuple[object, ...], Cost] = {}
    for cell in cells:
        data, tested = DATASETS[cell.dataset.name], cell.eval.name
        assert data.train and data.test, 'the tables have published sizes'
        found['test view', data.name, tested] = _encoded(data.test, tested)
        made_by = cell.source_cell or cell
        synthetic = 'num_augmentations' in made_by.method.settings
        if cell.source and (synthetic or cell.method.row.name in _SELECTORS):
            found['training images', data.name, cell.source.name] = _encoded(data.train, cell.source.name)
        if synthetic:
            found['set', made_by.distilled_key] = _distilled(made_by, data.classes)
            if views := made_by.method.settings['num_views']:
                assert made_by.source is not None, 'LGM has a source backbone'
                lasting = tuple(map(str, sorted(made_by.method.lasting.items())))
                found['views', data.name, made_by.source.name, lasting] = _encoded(views * data.train, made_by.source.name)
        rules = cell.protocol.settings
        if 'epochs' not in rules:
            continue  # a solution or a search, which takes seconds
        if cell.method.row.name == 'full':
            found['pool', data.name, tested] = _encoded(rules['full_views'] * data.train, tested)
            steps = rules['full_epochs'] * math.ceil(data.train / rules['full_batch_size'])
            found['probe', cell.key] = Cost(steps * _STEP / 3600, 0)
        else:
            # the images of `neighbors` are photographs, although it is made from a synthetic set
            held = synthetic and cell.of is None
            found['probe', cell.key] = _small_probe(cell, (cell.ipc or 1) * data.classes, held=held)
    return found


def _encoded(count: int, backbone: str) -> Cost:
    """Return the cost of features of photographs that are read once and cached."""
    return Cost(_seconds(count, backbone, rate=_PHOTOGRAPHS) / 3600, count * BACKBONES[backbone].width * 4 / 1e9)


def _distilled(cell: Cell, classes: int) -> Cost:
    """Return the cost of all updates of a set."""
    assert cell.source is not None and cell.ipc is not None, 'LGM has both'
    settings, backbone = cell.method.settings, cell.source.name
    views = cell.ipc * classes * settings['num_augmentations']
    passes = 3 if settings['chunk_size'] and views > settings['chunk_size'] else 2
    update = max(_LEAST_UPDATE, passes * views * GFLOP[backbone] / _GFLOP_PER_SECOND)
    if settings['num_views'] is None:
        update += _seconds(views, backbone, rate=_PHOTOGRAPHS)
    return Cost(settings['num_updates'] * update / 3600, 0)


def _small_probe(cell: Cell, images: int, *, held: bool) -> Cost:
    """Return the cost of a probe on a small set, whose views are all used once."""
    rules = cell.protocol.settings
    views = rules['repeats'] * rules['epochs'] * images
    steps = rules['epochs'] * math.ceil(images / rules['batch_size'])
    return Cost((_seconds(views, cell.eval.name, rate=_HELD if held else _PHOTOGRAPHS) + steps * _STEP) / 3600, 0)


def _seconds(count: int, backbone: str, *, rate: float) -> float:
    """Return the seconds to read images and to pass them through a backbone forwards."""
    workers = min(_WORKERS, count // _IMAGES_PER_WORKER) if count >= 2 * _IMAGES_PER_WORKER else 0
    reading = count / (rate * max(1, workers))
    passing = count * GFLOP[backbone] / _GFLOP_PER_SECOND
    # without workers the process does one after the other
    return max(reading, passing) + _STARTING if workers else reading + passing


def cells_of(path: Path | str) -> list[Cell]:
    """Return the cells of a gin file."""
    from bench.config.gin_files import loaded

    with loaded([str(path)], [], command=RUN) as config:
        return grid(config)


def main() -> int:
    """Print one line per gin file; returns the exit status."""
    values = flags.FLAGS
    suites = sorted(map(str, (ROOT / 'gin' / 'suites').glob('paper_table*.gin')))
    after = [cell for path in values.after for cell in cells_of(path)]
    lines = [['', 'cells', ' ']]
    for path in values.gin_file or suites:
        cells = cells_of(path)
        lines.append([Path(path).stem, str(len(cells)), f' {cost(cells, after=after)}'])
    print(aligned(lines, right={1}))
    return 0


if __name__ == '__main__':
    cli.define('gin_file')
    flags.DEFINE_multi_string('after', [], 'gin file whose cells have run in the same folders')
    cli.start(main)
