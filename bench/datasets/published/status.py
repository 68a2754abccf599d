"""Check whether a published dataset is complete on this machine, and prepare it."""

from bench.core.errors import InputError
from bench.core.types import Places, data_root_of
from bench.datasets.published import catalogue
from bench.datasets.published.facts import PublishedDataset
from bench.datasets.published.obtain import absent, how_to_get


def check(published: PublishedDataset, places: Places) -> tuple[str, str]:
    """Return 'present', 'absent' or 'damaged', and a line of details. Downloads nothing.

    Every image of a present dataset is decoded once (except for imagenet1k and imagenet100, which are too large). A second
    call is quick.
    """
    root = data_root_of(places, published.name)
    if missing := absent(published, root):
        begun = 'in part: ' if len(missing) < len(published.files) else ''
        return 'absent', begun + how_to_get(published, missing, root)
    try:
        dataset = catalogue.load(published.name, places)
    except InputError as error:
        return 'damaged', str(error)
    return 'present', f'{root / published.folder}: {len(dataset.train):,} train, {len(dataset.test):,} test'


def prepare(published: PublishedDataset, places: Places) -> str:
    """Download, check and extract the missing files, load the dataset, and return a line about it.

    Raises:
      InputError: if a file cannot be downloaded, needs a person's consent, or differs from the published one.
    """
    dataset = catalogue.load(published.name, places)
    sizes = f'{len(dataset.train):,} train and {len(dataset.test):,} test images'
    return f'{published.name}: {sizes}; licence: {published.licence}'
