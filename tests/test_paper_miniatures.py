"""The published tables on miniatures of their own data sets: archives -> official loader -> cells -> records."""

import pytest
from conftest import all_records

from tests.miniatures import install

SMALL = [
    "run.backbones = ['toy_net']", 'run.eval_backbones = None', 'lgm.num_updates = 6', 'lgm.level_every = 1',
    'lgm.num_augmentations = 1', 'lgm.num_views = 1', 'lgm.log_every = 1', 'release_v1.epochs = 2',
    'release_v1.full_epochs = 2', 'release_v1.repeats = 2', "run.seeds_for = {'random': [0, 1]}",
]  # fmt: skip
TABLES = {
    'suites/paper_table1': ['imagenet_birds'],  # by the loader of ImageNet-100 and 1k, with fewer classes to distil
    'suites/paper_table1_1k': ['imagenet_fruits'],
    'suites/paper_table4': ['waterbirds', 'spawrious'],
    'suites/paper_table5': ['stanford_dogs', 'cub200'],
    'suites/paper_tableB1': ['food101'],  # a miniature of the flowers has classes without images
}


@pytest.mark.parametrize('name, datasets', TABLES.items(), ids=lambda value: str(value))
def test_a_table_runs_from_the_official_archives(name, datasets, run_bench, tmp_path, monkeypatch):
    (tmp_path / 'data').mkdir()
    for dataset in datasets:
        install(dataset, tmp_path / 'data', monkeypatch)
    lines = [*SMALL, f'run.datasets = {datasets}']
    outcome = run_bench(
        f'--gin_file=gin/{name}.gin', f'--data_root={tmp_path / "data"}', *(f'--gin_bindings={line}' for line in lines)
    )
    assert (outcome.status, outcome.err) == (0, ''), outcome
    records = all_records(tmp_path / 'results')
    assert len(records) == 6 * len(datasets) and {record.status for record in records} == {'ok'}
    for record in records:
        assert (record.per_group is not None) == (record.cell.dataset in ('waterbirds', 'spawrious'))
