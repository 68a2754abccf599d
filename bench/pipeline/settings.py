"""Every setting of the cells of a run, for people to read."""

from bench.config.gin_files import Choice
from bench.core.hashing import canonical_json
from bench.datasets.published.catalogue import CATALOGUE
from bench.pipeline.grid import Cell


def settings_of(cells: list[Cell]) -> list[str]:
    """Return one line for each data set, method, backbone and protocol of some cells: its kind, label and settings.

    A line is a list of words `name=value`, with values as in JSON. Published data sets say their official sizes too.
    """
    chosen = [
        choice for cell in cells for choice in (cell.dataset, cell.of, cell.method, *cell.backbones, cell.protocol) if choice
    ]
    distinct = {(choice.kind, choice.label): choice for choice in chosen}
    in_order = sorted(distinct.values(), key=lambda choice: ('dataset', 'method', 'backbone', 'protocol').index(choice.kind))
    return [' '.join([choice.kind, choice.label, *_words(choice)]) for choice in in_order]


def _words(choice: Choice) -> list[str]:
    settings = dict(choice.settings)
    if choice.kind == 'dataset' and choice.name in CATALOGUE:
        published = CATALOGUE[choice.name]
        settings = {'classes': published.classes, 'train': published.train, 'test': published.test, **settings}
    return [f'{name}={canonical_json(value)}' for name, value in settings.items()]
