"""Whether a published dataset is here, whole, and how to make it so."""

from bench.core.errors import InputError
from bench.core.types import Places, data_root_of
from bench.datasets.published import catalogue
from bench.datasets.published.entry import Entry
from bench.datasets.published.obtain import absent, how_to_get


def check(entry: Entry, places: Places) -> tuple[str, str]:
    """Return 'present', 'absent' or 'damaged', and what to know of it. Fetches nothing.

    Every image of a dataset that is there is decoded once (except those of imagenet1k and imagenet100, which are too many);
    a second call is quick.
    """
    root = data_root_of(places, entry.name)
    if missing := absent(entry, root):
        begun = 'in part: ' if len(missing) < len(entry.sources) else ''
        return 'absent', begun + how_to_get(entry, missing, root)
    try:
        dataset = catalogue.load(entry.name, places)
    except InputError as error:
        return 'damaged', str(error)
    return 'present', f'{root / entry.folder}: {len(dataset.train):,} train, {len(dataset.test):,} test'


def prepare(entry: Entry, places: Places) -> str:
    """Fetch, verify and extract what is absent, load it, and return a line about it.

    Raises:
      InputError: for what cannot be fetched, needs a licence, or is not as published.
    """
    dataset = catalogue.load(entry.name, places)
    return f'{entry.name}: {len(dataset.train):,} train and {len(dataset.test):,} test images; licence: {entry.licence}'
