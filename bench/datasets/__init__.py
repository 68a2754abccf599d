"""The table of datasets: one row per name.

A loader is `loader(places, *, settings...) -> bench.core.types.Dataset`; that of published datasets, or of an open name
such as `hf:<dataset>`, takes the name first. A published dataset is one file of `bench/datasets/published/sets/`.
"""

from bench.config.registry import Row
from bench.datasets.published.catalogue import ENTRIES

ROWS = (
    Row(
        'plumage',
        'bench.datasets.plumage.plumage:plumage',
        'procedural birds, 20 species in 5 families of near-twins; no download',
    ),
    Row(
        'plumage_families',
        'bench.datasets.plumage.plumage:plumage_families',
        'the pictures of plumage labelled by family: 5 coarse classes; no download',
        base='plumage',
    ),
    Row(
        'plumage_spurious',
        'bench.datasets.plumage.spurious:plumage_spurious',
        'four near-twin ducks on water or land, 95% at home in training, 50% in test, 8 groups; no download',
    ),
    Row('folder', 'bench.datasets.folder:folder', 'your own images: <data_root>/<folder.path>/<split>/<class>/<image>'),
    Row(
        'hf', 'bench.datasets.hugging_face:hf', 'any image classification dataset of the Hugging Face hub',
        argument='dataset',
    ),
    *(
        Row(entry.name, 'bench.datasets.published.catalogue:load', entry.summary, fixed=entry.name)
        for entry in ENTRIES.values()
    ),
)
