"""Datasets of the Hugging Face hub: read by its own library from a folder of parquet files, as the hub serves them."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from test_datasets import check_usable

from bench.core.errors import InputError
from bench.core.types import Places
from bench.datasets import hugging_face as hub

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')
COLOURS = {'train': [('red', 0), ('blue', 1), ('black', 1)], 'test': [('green', 1), ('white', 0)]}


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    """The datasets library with a cache of its own."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp('hf')
    datasets.disable_progress_bars()
    yield datasets
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path, None, tmp_path / 'cache')


def encoded(colour):
    buffer = io.BytesIO()
    Image.new('RGB', (8, 6), colour).save(buffer, 'PNG')
    return {'bytes': buffer.getvalue(), 'path': f'{colour}.png'}


def write(library, folder, splits=COLOURS, *, names=('cat', 'dog'), **features):
    (folder / 'data').mkdir(parents=True)
    kinds = {'image': library.Image(), 'label': library.ClassLabel(names=list(names)), **features}
    for split, rows in splits.items():
        table = {'image': [encoded(colour) for colour, _ in rows], 'label': [label for _, label in rows]}
        table |= {name: [0] * len(rows) for name in features}
        made = library.Dataset.from_dict(table, features=library.Features(kinds))
        made.to_parquet(folder / 'data' / f'{split}-00000-of-00001.parquet')


def test_images_and_labels_are_read(library, places, tmp_path):
    write(library, tmp_path / 'owner' / 'pets')
    dataset = hub.hf('owner/pets', places)
    assert dataset.train.class_names == ('cat', 'dog') and dataset.source == 'owner/pets'
    assert dataset.train.labels_N.tolist() == [0, 1, 1] and dataset.test.labels_N.tolist() == [1, 0]
    assert np.asarray(dataset.train.images[1])[0, 0].tolist() == [0, 0, 255]
    check_usable(dataset, citation=False)
    assert hub.hf('owner/pets', places).fingerprints == dataset.fingerprints


def test_the_fingerprint_follows_images_and_labels_only(library, places, tmp_path):
    seen = []
    for name, rows in (
        ('a', [('red', 0), ('blue', 1)]), ('b', [('red', 0), ('blue', 1)]), ('c', [('red', 1), ('blue', 1)]),
        ('d', [('blue', 0), ('red', 1)]),
    ):  # fmt: skip
        write(library, tmp_path / name, {'train': rows, 'test': rows})
        seen.append(hub.hf(name, places).train.fingerprint)
    assert seen[0] == seen[1] and len(set(seen)) == 3


def test_other_splits_and_columns_are_named(library, places, tmp_path):
    more = {'coarse': library.ClassLabel(names=['animal'])}
    write(library, tmp_path / 'set', {'validation': COLOURS['test'], 'extra': COLOURS['train']}, **more)
    asked = {'train_split': 'extra', 'test_split': 'validation', 'label_column': 'label'}
    assert len(hub.hf('set', places, **asked).train) == 3
    for changes, message in (
        ({'test_split': 'test'}, "hf:set: expected to load split 'test', got: .*check name, hf.config, hf.test_split"),
        ({'label_column': ''}, 'hf:set: expected one label column, got .*coarse.* among .*bind hf.label_column'),
        ({'label_column': 'labels'}, "hf.label_column: no label column 'labels'; did you mean label"),
        ({'image_column': 'img'}, "hf.image_column: no image column 'img'"),
        ({'config': 'other'}, "expected to load split 'extra', got: .*other"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            hub.hf('set', places, **{**asked, **changes})
        assert '\n' not in str(caught.value)


def test_unlabelled_and_damaged_images_are_named(library, places, tmp_path, monkeypatch):
    write(library, tmp_path / 'set', {'train': COLOURS['train'], 'test': [('red', -1)]})
    with pytest.raises(InputError, match="hf:set: expected labelled images in split 'test'"):
        hub.hf('set', places)
    monkeypatch.setattr(f'{__name__}.encoded', lambda _: {'bytes': b'x', 'path': 'x'})
    write(library, tmp_path / 'bad')
    with pytest.raises(InputError, match='hf:bad: expected image 2 to be readable, got something else'):
        hub.hf('bad', places).train.images[2]


def test_what_cannot_be_fetched_ends_in_one_line(library, places):
    with pytest.raises(InputError, match=r"hf:owner/nowhere: expected to load split 'train', got: .*HF_HOME") as caught:
        hub.hf('owner/nowhere', places)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['../elsewhere', '/etc'])
def test_folders_outside_the_data_root_are_refused(name, places):
    with pytest.raises(InputError, match='a folder under --data_root'):
        hub.hf(name, places)


def test_it_runs_through_the_pipeline(library, tmp_path, run_bench):
    write(library, tmp_path / 'data' / 'owner' / 'pets')
    outcome = run_bench(
        f'--data_root={tmp_path / "data"}', bind=["run.datasets = ['hf:owner/pets']", "run.methods = ['random', 'centroid']"]
    )
    assert (outcome.status, outcome.err) == (0, '')
    (path,) = (tmp_path / 'results' / 'records').rglob('centroid/*.json')
    assert json.loads(path.read_text())['cell']['dataset'] == 'hf:owner/pets'
