"""The table of datasets: one row a name, one file a family of loaders.

A loader is `loader(places, *, settings...) -> bench.types.Dataset`.
"""

from bench.registry import Row

ROWS = (
    Row(
        'plumage',
        'bench.datasets.plumage:plumage',
        'procedural birds, 20 species in 5 families of near-twins; no download',
    ),
    Row(
        'plumage_families',
        'bench.datasets.plumage:plumage_families',
        'the pictures of plumage labelled by family: 5 coarse classes; no download',
        base='plumage',
    ),
    Row(
        'plumage_spurious',
        'bench.datasets.plumage_spurious:plumage_spurious',
        'four near-twin ducks on water or land, 95% at home in training, 50% in test, 8 groups; no download',
    ),
    Row('folder', 'bench.datasets.folder:folder', 'your own images: <data_root>/<folder.path>/<split>/<class>/<image>'),
    Row('cub200', 'bench.datasets.cub200:cub200', 'Caltech-UCSD Birds-200-2011, 200 species; 1.1 GB download'),
    Row('flowers102', 'bench.datasets.torchvision_sets:flowers102', 'Oxford Flowers, 102 kinds; 0.3 GB download'),
    Row('food101', 'bench.datasets.torchvision_sets:food101', 'Food-101, 101 dishes; 5 GB download'),
    Row('fgvc_aircraft', 'bench.datasets.torchvision_sets:fgvc_aircraft', 'FGVC Aircraft, 100 variants; 3 GB download'),
    Row('oxford_pets', 'bench.datasets.torchvision_sets:oxford_pets', 'Oxford-IIIT Pet, 37 breeds; 0.8 GB download'),
)
