"""Published numbers: carried as they are, read with care, and stated in the heads of the gin files that aim at them."""

import csv
from collections import defaultdict

import numpy as np
import pytest
from conftest import ROOT

from bench.analysis.ablation import PUBLISHED as ABLATION_MEANS
from bench.analysis.evidence import short_name
from bench.config.gin_files import loaded
from bench.core.errors import InputError
from bench.pipeline.grid import RUN, grid
from bench.results import published
from benchmarks import paper_costs
from tests import commands

BACKBONES = ('clip_vitb16', 'dinov2_vitb14', 'eva02_vitb14', 'mocov3_vitb16')
METHODS = ('lgm', 'neighbors', 'centroid', 'random', 'full')
VARIANTS = ('no_decorrelation', 'no_pyramid', 'no_augmentation')
FIGURES = published.load(ROOT / 'results')
SUITES = ROOT / 'gin' / 'suites'
# table -> its data sets; those of table 2 and 3 have places of their own
TABLES = {
    'table1': ['imagenet100'], 'table1_1k': ['imagenet1k'], 'table4': ['waterbirds', 'spawrious'],
    'table5': ['stanford_dogs', 'cub200'], 'tableB1': ['flowers102', 'food101'],
}  # fmt: skip
PAIRS = sorted(path for path in (ROOT / 'gin').glob('*.gin') if '# Published' in path.read_text())


def cells_of(path):
    with loaded([str(path)], [], command=RUN) as config:
        return grid(config)


def places_of(cells):
    """Return the cells as places of published numbers, each with how often it occurs (choices of random images)."""
    found = defaultdict(int)
    for cell in cells:
        source = cell.source or cell.eval
        found[cell.dataset.label, cell.method.label, source.label, cell.eval.label] += 1
    return dict(found)


# --- the files ----------------------------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    ('name', 'original'),
    [('published.csv', 'published_results.csv'), ('published_ablations.csv', 'ablations.csv')],
)
def test_they_are_the_numbers_of_the_paper(shared, name, original):
    ours, theirs = (list(csv.reader(path.read_text().splitlines())) for path in (
        ROOT / 'results' / name, shared / 'paper' / original,
    ))  # fmt: skip
    assert ours == theirs and len(ours) > 8


def test_184_cells_and_the_ablations_on_their_own_backbone():
    assert len(FIGURES) == 184 + 3 * 4
    assert FIGURES['cub200', 'random', 'dinov2_vitb14', 'dinov2_vitb14'] == published.Accuracy(64.4, 1.5)
    assert FIGURES['imagenet100', 'no_pyramid', 'mocov3_vitb16', 'mocov3_vitb16'] == published.Accuracy(80.5, None)
    # the standard deviation of 1, 2, 3, 4, 5 divided by 5, and by 4
    figure = published.Accuracy(3.0, float(np.std([1, 2, 3, 4, 5])))
    assert figure.sample_std == pytest.approx(np.std([1, 2, 3, 4, 5], ddof=1))


def test_the_ablations_analysis_states_the_means_of_the_same_numbers():
    lines = ablation_lines()
    for variant, means in ABLATION_MEANS.items():
        for setting, mean in zip(('same_model', 'mean_of_3_other_models'), means, strict=True):
            assert np.mean(lines[setting, variant]) == pytest.approx(mean, abs=0.0501)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('caf\xe9'.encode('latin-1'), 'published.csv: expected a CSV file in UTF-8, got: .*decode'),
        ('dataset,method\ncub200,lgm\n', 'expected the columns dataset, method, source_backbone'),
        ('dataset,method,source_backbone,eval_backbone,top1_mean,top1_std\na,b,c,d,much,0.1\n', "line 2: .* got 'much'"),
        ('dataset,method,source_backbone,eval_backbone,top1_mean,top1_std\na,b,c,d,101,0.1\n', "line 2: .* got '101'"),
        ('dataset,method,source_backbone,eval_backbone,top1_mean,top1_std\na,b,c,d\n', 'line 2: .* got None'),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, said):
    (tmp_path / 'published.csv').write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said):
        published.load(tmp_path)


def test_a_results_folder_may_have_numbers_of_its_own(tmp_path):
    assert published.load(tmp_path) == FIGURES
    (tmp_path / 'published.csv').write_text('dataset,method,source_backbone,eval_backbone,top1_mean,top1_std\na,b,c,d,50,\n')
    assert {place: figure for place, figure in published.load(tmp_path).items() if place[0] == 'a'} == {
        ('a', 'b', 'c', 'd'): published.Accuracy(50.0, None)
    }
    assert len(published.load(tmp_path)) == 1 + 3 * 4


# --- the gin files that aim at them ---------------------------------------------------------------------------------


@pytest.mark.parametrize('table', TABLES)
def test_a_table_runs_exactly_the_published_cells(table):
    found = places_of(cells_of(SUITES / f'paper_{table}.gin'))
    wanted = {place for place in FIGURES if place[0] in TABLES[table] and place[2] == place[3]} - ablation_places()
    assert found.keys() == wanted and len(wanted) == 20 * len(TABLES[table])
    assert {method: count for (_, method, _, _), count in found.items()} == {
        'lgm': 1, 'neighbors': 1, 'centroid': 1, 'random': 5, 'full': 1
    }  # fmt: skip


@pytest.mark.parametrize(('table', 'dataset'), [('table2', 'imagenet100'), ('table2_1k', 'imagenet1k')])
def test_the_transfer_table_runs_every_pair_and_what_its_analysis_compares_with(table, dataset):
    found = places_of(cells_of(SUITES / f'paper_{table}.gin'))
    wanted = {place for place in FIGURES if place[0] == dataset} - ablation_places()
    assert wanted < found.keys() and {place[0] for place in found} == {dataset}
    # beside the published ones: k_center, and real images that were chosen through another backbone
    assert {(place[1], place[2] == place[3]) for place in found.keys() - wanted} == {
        ('k_center', True), ('k_center', False), ('neighbors', False), ('centroid', False)
    }  # fmt: skip


def test_the_ablation_table_runs_every_variant_on_every_pair():
    cells = cells_of(SUITES / 'paper_table3.gin')
    pairs = [(source, tested) for source in BACKBONES for tested in BACKBONES]
    assert set(places_of(cells)) == {
        ('imagenet100', method, *pair) for method in ('lgm', *VARIANTS) for pair in pairs
    }  # fmt: skip
    assert ablation_places() < set(places_of(cells))


def test_the_alignment_table_runs_lgm_on_every_pair():
    cells = cells_of(SUITES / 'paper_table6.gin')
    assert set(places_of(cells)) == {('imagenet1k', 'lgm', source, tested) for source in BACKBONES for tested in BACKBONES}
    # the sets of table 2, tested by other rules
    sets = {cell.distilled_key for cell in cells_of(SUITES / 'paper_table2_1k.gin') if cell.method.label == 'lgm'}
    assert {cell.distilled_key for cell in cells} == sets and len(sets) == len(BACKBONES)
    assert {cell.protocol_label for cell in cells} == {'nn1-v1'}


def test_tables_share_their_cells():
    """What one table has made is not made again by the next."""
    keys = {table: {cell.key for cell in cells_of(SUITES / f'paper_{table}.gin')} for table in (
        'table1', 'table2', 'table3', 'table1_1k', 'table2_1k',
    )}  # fmt: skip
    assert keys['table1'] < keys['table2'] and len(keys['table2'] & keys['table3']) == 4 * 4
    assert keys['table1_1k'] < keys['table2_1k'] and not keys['table1_1k'] & keys['table1']


def test_imagenet1k_takes_three_views_an_update_and_the_others_ten():
    for path in sorted(SUITES.glob('paper_table*.gin')):
        views = {cell.method.settings['num_augmentations'] for cell in cells_of(path) if cell.method.row.name == 'lgm'}
        assert views == ({3} if path.stem.endswith(('_1k', 'table6')) else {10}), path.stem


@pytest.mark.parametrize('path', sorted(SUITES.glob('paper_table*.gin')), ids=lambda path: path.stem)
def test_the_head_of_a_table_states_its_cells_and_the_published_numbers(path):
    text = path.read_text()
    head = text.partition('\ninclude')[0]
    assert f'# {len(cells_of(path))} cells; {paper_costs.cost(cells_of(path))} (estimate: gin/suites/paper.gin)' in head
    table = path.stem.removeprefix('paper_')
    for line in published_lines(table):
        assert f'#   {line}\n' in f'{head}\n', line


@pytest.mark.parametrize('path', PAIRS, ids=lambda path: path.stem)
def test_the_head_of_a_single_pair_states_the_published_numbers(path):
    head = path.read_text().partition('\ninclude')[0]
    (place,) = {place[::2] for place in places_of(cells_of(path))}
    numbers = [f'{method} {shown(place[0], method, place[1], place[1])}' for method in METHODS]
    assert f'# Published: {", ".join(numbers)}.' in head
    assert str(paper_costs.cost(cells_of(path))) in head.replace(' features, for three seeds', ' features')


# table -> the table whose sets and features it shares, as its head says
@pytest.mark.parametrize(
    ('table', 'earlier'), [('2', '1'), ('2_1k', '1_1k'), ('3', '1'), ('6', '1_1k')], ids=lambda value: f'table{value}'
)
def test_the_head_of_a_table_states_what_is_left_after_another(table, earlier):
    path, other = (SUITES / f'paper_table{name}.gin' for name in (table, earlier))
    left = paper_costs.cost(cells_of(path), after=cells_of(other))
    words = ' '.join(path.read_text().replace('\n#', '').split())
    assert f'(estimate: gin/suites/paper.gin), but only {left} after gin/suites/{other.name} has run' in words


def test_the_estimates_worked_by_hand():
    methods, path = ('lgm', 'full', 'random'), ROOT / 'gin' / 'imagenet100_clip.gin'
    cells = [cell for cell in cells_of(path) if cell.method.label in methods]
    # 1,000 synthetic views pass three times; 1,000 photographs are read by three workers, 250 a second each
    update = 3 * 1000 * 35 / 100_000 + 1000 / 750 + 0.1
    # eight workers; the photographs of five random sets are read for every view, the distilled images pass the backbone
    read = (126_689 * (1 + 8) + 5_000 + 5 * 500_000) / 2000
    steps = 6 * 1000 + 100 * 990
    hours = (5001 * update + read + 500_000 * 35 / 100_000 + 0.002 * steps + 9 * 0.1) / 3600
    found = paper_costs.cost(cells)
    assert found.hours == pytest.approx(hours, rel=1e-4)
    assert found.gigabytes == pytest.approx((126_689 * 9 + 5_000) * 512 * 4 / 1e9)
    assert paper_costs.cost(cells, after=cells) == paper_costs.Cost(0, 0)
    again = paper_costs.cost([cell for cell in cells if cell.method.label == 'random'], after=[cells[0]])
    assert again.gigabytes == 0, 'the test view is there'
    assert [paper_costs.shown(value) for value in (0.0312, 1.25, 3.04, 128.4, 0)] == ['0.031', '1.2', '3', '130', '0']


def test_the_command_prints_the_estimates():
    one, other = (f'gin/suites/paper_{name}.gin' for name in ('table4', 'table5'))
    done = commands.run('benchmarks.paper_costs', f'--gin_file={one}', f'--gin_file={other}', f'--after={one}')
    assert (done.status, done.err) == (0, '')
    assert done.out.splitlines()[1].split(maxsplit=2) == ['paper_table4', '72', '0 GPU hours and 0 GB of features']
    assert done.out.splitlines()[2].endswith(f'  {paper_costs.cost(cells_of(SUITES / "paper_table5.gin"))}')


def test_there_are_single_pairs():
    assert {'cub_eva02', 'dogs_dinov2', 'imagenet100_clip'} <= {path.stem for path in PAIRS}


# --- the lines of the heads -------------------------------------------------------------------------------------------


def published_lines(table):
    """Return the published numbers as a head states them, without the comment sign."""
    if table in TABLES:
        return [
            line
            for dataset in TABLES[table]
            for line in block(dataset, METHODS, lambda method, backbone, d=dataset: shown(d, method, backbone, backbone))
        ]
    if table == 'table3':
        lines = ablation_lines()
        return [
            line
            for setting in ('same_model', 'mean_of_3_other_models')
            for line in block(
                setting, ('full', *VARIANTS),
                lambda variant, backbone, s=setting: f'{lines[s, variant][BACKBONES.index(backbone)]:.1f}',
            )
        ]  # fmt: skip
    if table == 'table6':
        return []  # its cells are in no file of ours
    dataset = 'imagenet1k' if table.endswith('_1k') else 'imagenet100'
    return block(f'{dataset}, lgm from', BACKBONES, lambda source, tested: shown(dataset, 'lgm', source, tested))


def block(title, rows, cell):
    """Return a table of numbers, the four backbones across."""
    head = f'{title:24}' + ''.join(f'{short_name(backbone):>13}' for backbone in BACKBONES)
    return [head, *(f'{short_name(row):24}' + ''.join(f'{cell(row, b):>13}' for b in BACKBONES) for row in rows)]


def shown(*place):
    figure = FIGURES[place]
    return f'{figure.mean:.1f} ± {figure.std:.1f}'


def ablation_lines():
    """Return the numbers of each (setting, variant), in the order of the backbones."""
    with open(ROOT / 'results' / 'published_ablations.csv', encoding='utf-8') as file:
        return {(row['setting'], row['variant']): [float(row[b]) for b in BACKBONES] for row in csv.DictReader(file)}


def ablation_places():
    return {place for place in FIGURES if place[1] in VARIANTS}
