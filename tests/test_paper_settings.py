"""`--dry_run --settings` of the published tables shows the settings of the paper and its release, typed here anew."""

import pytest

from bench.features.views import resize_side
from tests.conftest import ROOT

BACKBONES = ('clip_vitb16', 'dinov2_vitb14', 'eva02_vitb14', 'mocov3_vitb16')
# data set -> classes, training images, test images (of ImageNet: the validation split)
DATA = {
    'imagenet100': (100, 126_689, 5_000),
    'imagenet1k': (1000, 1_281_167, 50_000),
    'waterbirds': (2, 4_795, 5_794),
    'spawrious': (4, 25_344, 25_344),  # 3,168 of each class in each of two places
    'stanford_dogs': (120, 12_000, 8_580),
    'cub200': (200, 5_994, 5_794),
    'flowers102': (102, 1_020, 6_149),
    'food101': (101, 75_750, 25_250),
}
REAL = ['lgm', 'neighbors', 'centroid', 'random', 'full']
PARTS = ['lgm', 'no_decorrelation', 'no_pyramid', 'no_augmentation']
# table -> data sets, random views per image and update (A), methods, whether every set is tested on all backbones, protocol
TABLES = {
    'table1':    (['imagenet100'],             10, REAL,                 False, 'release-v1'),
    'table1_1k': (['imagenet1k'],               3, REAL,                 False, 'release-v1'),
    'table2':    (['imagenet100'],             10, [*REAL, 'k_center'],  True,  'release-v1'),
    'table2_1k': (['imagenet1k'],               3, [*REAL, 'k_center'],  True,  'release-v1'),
    'table3':    (['imagenet100'],             10, PARTS,                True,  'release-v1'),
    'table4':    (['waterbirds', 'spawrious'], 10, REAL,                 False, 'release-v1'),
    'table5':    (['stanford_dogs', 'cub200'], 10, REAL,                 False, 'release-v1'),
    'table6':    (['imagenet1k'],               3, ['lgm'],              True,  'nn1-v1'),
    'tableB1':   (['flowers102', 'food101'],   10, REAL,                 False, 'release-v1'),
}  # fmt: skip
LGM = {
    'num_updates=5001', 'learning_rate=0.002', 'lr_over_levels=false', 'decay_start=1.0',  # Adam, constant rate
    'num_probes=1', 'probe_sigma=0.01', 'real_gradient="batch"', 'class_balanced=false', 'drop_last=true', 'num_views=null',
    'parameterization="pyramid"', 'level_every=200', 'level_delay=1', 'decorrelate=true', 'init="noise"',
    'image_size=null',  # 256 for an input of 224, see below
    'frame="random"', 'interpolation="bilinear"', 'crop=true', 'crop_min_area=0.08', 'overhang=true', 'flip_prob=0.5',
    'noise_std=0.2', 'noise_mean=0.0', 'noise_prob=0.5', 'soft_labels=false',
}  # fmt: skip
# what an ablation has in place of the settings above
ABLATIONS = {
    'no_decorrelation': {'decorrelate=false'},
    'no_pyramid': {'parameterization="pixels"'},
    'no_augmentation': {'crop=false', 'flip_prob=0.0', 'noise_prob=0.0', 'num_views=1'},
}
PROTOCOLS = {
    'release-v1': {
        'repeats=5', 'epochs=1000', 'batch_size=100', 'full_epochs=100', 'full_batch_size=128', 'rate_per_256=0.001',
        'init_sigma=0.01', 'num_views=null', 'own_views=true', 'square=true', 'overhang=true', 'interpolation="bilinear"',
        'cosine="epoch"',
    },
    'nn1-v1': {'metric="cosine"'},
}  # fmt: skip


def test_every_table_is_listed():
    assert {path.stem.removeprefix('paper_') for path in (ROOT / 'gin' / 'suites').glob('paper_table*.gin')} == set(TABLES)


@pytest.mark.parametrize('table', TABLES)
def test_a_table_has_the_published_settings(table, run_bench):
    datasets, views, methods, transfer, protocol = TABLES[table]
    outcome = run_bench(f'--gin_file=gin/suites/paper_{table}.gin', '--dry_run', '--settings')
    assert (outcome.status, outcome.err) == (0, '')
    lines = outcome.out.splitlines()
    cells = [line.split('  ', 2)[2].removesuffix('  (new)') for line in lines if '  to do  ' in line]
    shown = {tuple(line.split()[:2]): set(line.split()[2:]) for line in lines if '  to do  ' not in line}
    assert len(cells) + len(shown) == len(lines)

    # every cell of the table, and no other: one image per class, five choices of random images, else one set
    assert len(set(cells)) == len(cells) and set(cells) == {
        f'{data} x {tested}: {method}{"" if source == tested else f" from {source}"}{size}{seed}, {protocol}'
        for data in datasets for method in methods for tested in BACKBONES
        for source in (BACKBONES if transfer and method not in ('random', 'full') else [tested])
        for size in ['' if method == 'full' else ' ipc 1']
        for seed in seeds_of(method)
    }  # fmt: skip
    assert {name for kind, name in shown if kind == 'dataset'} == set(datasets)
    for data in datasets:
        classes, train, test = DATA[data]
        assert shown['dataset', data] >= {f'classes={classes}', f'train={train}', f'test={test}'}
    assert {name for kind, name in shown if kind == 'method'} == set(methods)
    for method in {'lgm', *ABLATIONS} & set(methods):
        changed = ABLATIONS.get(method, set())
        names = {word.partition('=')[0] for word in changed}
        kept = {word for word in LGM if word.partition('=')[0] not in names}
        assert shown['method', method] >= {*kept, *changed, f'num_augmentations={views}'}
    if 'neighbors' in methods:
        assert shown['method', 'neighbors'] == {'of="lgm"'}
    for backbone in BACKBONES:
        assert shown['backbone', backbone] >= {'input_side=224', 'interpolation="bilinear"', 'checkpoint=""'}
    assert {name for kind, name in shown if kind == 'protocol'} == {protocol}
    assert shown['protocol', protocol] >= PROTOCOLS[protocol]


def seeds_of(method):
    """Return how a cell shows the seeds of a method, '' where none is used."""
    if method in ('centroid', 'k_center', 'full'):
        return ['']
    return [f' seed {seed}' for seed in (range(5) if method == 'random' else [0])]


def test_images_of_256_px_are_seen_at_224():
    assert resize_side(224) == 256


def test_settings_are_shown_for_a_dry_run_only(run_bench):
    outcome = run_bench('--settings', bind=["run.methods = ['random']"])
    assert outcome.status == 2 and '--settings: expected --dry_run beside it' in outcome.err


def test_every_choice_is_shown_once_with_all_its_settings(run_bench, toy):
    lines = ["run.methods = ['neighbors', 'random']", "run.backbones = ['toy_net', 'o=toy_net']", 'o/toy_net.seed = 3']
    outcome = run_bench('--dry_run', '--settings', bind=lines)
    shown = [line for line in outcome.out.splitlines() if '  to do  ' not in line]
    assert [tuple(line.split()[:2]) for line in shown] == [
        ('dataset', 'toy_data'), ('method', 'random'), ('method', 'lgm'), ('method', 'neighbors'), ('backbone', 'toy_net'),
        ('backbone', 'o'), ('protocol', 'paper-v1'),
    ]  # fmt: skip
    assert shown[0] == 'dataset toy_data per_class=6 num_classes=6'
    assert 'backbone o seed=3 broken=false precision="float32"' in shown
