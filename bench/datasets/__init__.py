"""The registry rows of the datasets, one per name.

A loader is `loader(places, *, settings...) -> bench.core.types.Dataset`. The loader of published datasets and those of open
names such as `hf:<dataset>` take the name first. Each published dataset is one file in `bench/datasets/published/sets/`.
"""

from bench.config.registry import Row
from bench.datasets.published.catalogue import CATALOGUE

ROWS = (
    Row(
        'plumage',
        'bench.datasets.plumage.plumage:plumage',
        'procedural birds, 20 species in 5 families of near-twins; no download',
    ),
    Row(
        'plumage_families',
        'bench.datasets.plumage.plumage:plumage_families',
        'the plumage pictures labelled by family: 5 coarse classes; no download',
        base='plumage',
    ),
    Row(
        'plumage_spurious',
        'bench.datasets.plumage.spurious:plumage_spurious',
        'four near-twin ducks on water or land, 95% at home in training, 50% in test, 8 groups; no download',
    ),
    Row(
        'aviary',
        'bench.datasets.plumage.aviary:aviary',
        'procedural birds, 30 kinds that differ in build, silhouette and colours; no download',
    ),
    Row(
        'aviary_coarse',
        'bench.datasets.plumage.aviary:aviary_coarse',
        'the aviary pictures with coarse labels, 10 groups of three kinds; no download',
        base='aviary',
    ),
    Row('folder', 'bench.datasets.folder:folder', 'your own images: <data_root>/<folder.path>/<split>/<class>/<image>'),
    Row(
        'hf', 'bench.datasets.hugging_face:hf', 'any image classification dataset on the Hugging Face hub',
        argument='dataset',
    ),
    *(
        Row(published.name, 'bench.datasets.published.catalogue:load', published.summary, fixed=published.name)
        for published in CATALOGUE.values()
    ),
)
