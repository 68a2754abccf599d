"""The analyses, against values worked by hand on records and pictures that are made up here: no training, no data."""

import contextlib
import csv
import itertools
from dataclasses import replace
from functools import lru_cache, partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, Pictures, files_below
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats as scipy_stats
from test_leaderboard import ORIGIN

from bench.analysis import alignment, embedding, report
from bench.analysis.ablation import ablation
from bench.analysis.evidence import Evidence, Loaders, Missing
from bench.analysis.nearest import nearest
from bench.analysis.spurious import spurious
from bench.analysis.transfer import transfer
from bench.analyze import ANALYZE, labelled
from bench.config import registry
from bench.config.gin_files import loaded
from bench.core.errors import InputError
from bench.core.types import Dataset, Group, Places, ProbeScore, Split
from bench.datasets.plumage.spurious import CLASS_NAMES, GROUPS, HOME_OF_CLASS
from bench.distillation.distilled_set import DistilledSet, folder_of
from bench.distillation.task import needs_of
from bench.pipeline.grid import RUN, grid
from bench.results.make import failed_record, make_record
from bench.results.record import DistilledFacts, MethodFacts, Seconds
from bench.results.statistics import Scores
from bench.results.store import load, write
from tests import commands
from tests.miniatures import install

FILES = sorted((ROOT / 'gin' / 'analysis').glob('*.gin'))
N = 20  # test images, so that accuracies are multiples of 5 %


# --- made-up records --------------------------------------------------------------------------------------------------


def right(*shares, count=N):
    """Return correct_RN: repeat r answers the first `shares[r]` of the test images."""
    return np.arange(count) < np.round(np.array(shares)[:, None] * count)


def toy_data(name, *, count=N):
    splits = (Split(s, (), np.arange(count) % 2, ('ant', 'bee'), f'{name}-{s}') for s in ('train', 'test'))
    return Dataset(name, *splits, 'MIT', 'made up')


def put(
    results_dir, method, correct_RN, *, on, source='any', ipc=1, seed=0, dataset='toy', protocol='paper-v1', data=None,
    made=None, labels='hard', settings=None, name='', kind='', facts=None, digest='',
):  # fmt: skip
    """Write the record of one cell (failed, where `correct_RN` is None), and its distilled set if one is given."""
    cell = {
        'dataset': dataset, 'method': method, 'source_backbone': source, 'eval_backbone': on, 'ipc': ipc, 'seed': seed,
        'protocol': protocol, 'method_name': name or method, 'method_settings': settings or {},
    }  # fmt: skip
    if labels == 'soft':
        cell['method_settings'] = {**cell['method_settings'], 'soft_labels': True}
    common = {'cell': cell, 'protocol_hash': f'{protocol}-hash', 'provenance': ORIGIN}
    if correct_RN is None:
        return write(failed_record(ValueError('no'), **common), results_dir=results_dir)
    data = data or toy_data(dataset, count=correct_RN.shape[1])
    digest = digest or '-'.join(map(str, [method, source, on, ipc, seed, protocol, labels, *(settings or {}).values()]))
    kind = kind or ('real' if method in real_methods() else 'synthetic')
    if made is not None:
        place = {'dataset': dataset, 'source': source, 'method': method, 'ipc': ipc, 'seed': seed}
        made.save(folder_of(results_dir, **place, made_from=made.hash))
        digest = made.hash
    observed = {
        'real': kind == 'real', 'needs_backbone': source != 'any', 'needs_ipc': ipc is not None,
        'needs_seed': method not in ('centroid', 'herding', 'k_center', 'full'),
    }  # fmt: skip
    record = make_record(
        ProbeScore(correct_RN, None, {}, {}), **common, dataset=data, probe_seeds=range(len(correct_RN)),
        n_train_images=2, source_weights=None, eval_weights=f'{on}-w', peak_memory_mb=None, device='cpu',
        seconds=Seconds(method=1.0, probe=0.5),
        distilled=DistilledFacts(hash=digest, bytes=1, kind=kind, labels=labels, facts={}),
        method_facts=MethodFacts(**{**observed, **(facts or {})}),
    )  # fmt: skip
    return write(record, results_dir=results_dir)


@lru_cache
def real_methods():
    return {name for name, row in registry.rows('method').items() if needs_of(row.load()).real}


class EverythingIsThere(Exception):
    """An analysis got as far as its backbones."""


def suite_files():
    """Return the gin files of the embedded suite that can be run: the others are included by them."""
    embedded = [path for path in (ROOT / 'gin' / 'suites').glob('*.gin') if not path.stem.startswith('paper')]
    return [path for path in sorted(embedded) if '\nrun.' in path.read_text()]


def everything_is_there(*choice):
    raise EverythingIsThere


class Planned(Evidence):
    """Evidence of an empty folder in which some gin files had been run to the end: every answer right."""

    def __init__(self, *gin_files, made_by=''):
        super().__init__(ROOT / 'nowhere', made_by=made_by)
        rows = {key: row for path in gin_files for key, row in planned(path).items()}
        self.table = pd.DataFrame(list(rows.values())).astype({'ipc': 'Int64'})

    def scores_of_rows(self, rows):
        return Scores(np.ones((len(rows), 1, 8)), tuple(rows.path))

    def dataset(self, name):
        everything_is_there()

    def distilled(self, row):
        return DistilledSet(np.zeros(1, np.int64), indices_N=np.zeros(1, np.int64))


@lru_cache
def planned(path):
    """Return the rows that the records of a gin file will have, by key."""
    with loaded([str(path)], [], command=RUN) as config:
        cells = grid(config)
    fields = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'ipc', 'seed', 'protocol')
    rows = {cell.key: {name: cell.config[name] for name in fields} for cell in cells}
    facts = {cell.key: facts_of(cell) for cell in cells}
    same = {'groups': {'all': 1.0}}
    return {key: {**row, **facts[key], **same, 'path': key, 'distilled_hash': key} for key, row in rows.items()}


def facts_of(cell):
    """Return what a record of the cell would say of its method."""
    return {
        'method_name': cell.config['method_name'], 'real': needs_of(cell.method.row.load()).real,
        'needs_backbone': cell.source is not None, 'needs_ipc': cell.ipc is not None,
    }  # fmt: skip


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_scores_are_the_mean_over_repeats_one_row_a_seed(tmp_path):
    for seed, shares in enumerate([(0.5, 0.7), (0.4, 0.4)]):
        put(tmp_path, 'lgm', right(*shares), source='a', on='a', seed=seed)
    put(tmp_path, 'full', right(0.9), on='a', ipc=None)
    evidence = Evidence(tmp_path)
    scores = evidence.scores(method='lgm', source_backbone='a', ipc=1)
    assert scores.correct_SN.shape == (2, N) and np.allclose(scores.mean_S, [0.6, 0.4])
    assert set(scores.correct_SN[0]) == {0, 0.5, 1}
    assert evidence.scores(method='full', ipc=None).mean_S == pytest.approx(0.9)
    assert evidence.scores(method='full', ipc=1) is None and evidence.scores(method='lgm', ipc=None) is None
    assert len(evidence.rows(dataset='toy')) == 3 and evidence.scores(method='lgm', dataset='other') is None


def test_soft_labels_and_failures_never_enter(tmp_path):
    put(tmp_path, 'lgm', right(0.5), source='a', on='a')
    put(tmp_path, 'lgm', right(1.0), source='a', on='a', seed=1, labels='soft')
    put(tmp_path, 'lgm', None, source='a', on='a', seed=2)
    put(tmp_path, 'sfm', None, source='a', on='a')
    evidence = Evidence(tmp_path)
    assert evidence.scores(method='lgm').mean_S == pytest.approx(0.5)
    assert evidence.scores(method='sfm') is None


def test_a_folder_without_records_has_none(tmp_path):
    assert Evidence(tmp_path).scores(method='lgm', ipc=1) is None


def test_two_records_that_answer_one_question_are_named(tmp_path):
    twice = [put(tmp_path, 'lgm', right(0.5), source='a', on='a', seed=2, settings={'rate': rate}) for rate in (1, 2)]
    twice += [put(tmp_path, 'lgm', right(0.5), source='a', on='a', seed=1, settings={'rate': rate}) for rate in (1, 2)]
    put(tmp_path, 'lgm', right(0.5), source='a', on='a', seed=0)
    place = {'dataset': 'toy', 'method': 'lgm', 'source_backbone': 'a', 'eval_backbone': 'a', 'ipc': 1}
    first, second = sorted(twice[2:])
    for read in (Evidence(tmp_path).scores, Evidence(tmp_path).seeds):
        with pytest.raises(InputError) as caught:
            read(**place)
        assert str(caught.value).startswith(f'two records of one cell and seed, {first} and {second}: keep one')
    with pytest.raises(InputError, match='two records of one cell and seed'):
        Evidence(tmp_path).distilled_sets('toy', 'lgm', ['a'], ipc=1, seed=2, protocol='paper-v1')


def test_missing_cells_are_named_with_the_command_and_the_rest_counted(tmp_path):
    evidence = Evidence(tmp_path, made_by='gin/suites/plumage.gin')
    evidence.require([])
    with pytest.raises(Missing) as caught:
        evidence.require(f'cell {i}' for i in range(6))
    command = f'python -m bench.run --gin_file=gin/suites/plumage.gin --results_dir={tmp_path}'
    said = f'6 of the required cells have no record in {tmp_path}: cell 0; cell 1; cell 2; cell 3 and 2 more. Make them: '
    assert str(caught.value) == said + command


def test_a_distilled_set_is_found_by_its_hash(tmp_path):
    first, second = (DistilledSet(np.arange(2), indices_N=np.array([i, i + 1])) for i in (0, 5))
    path = put(tmp_path, 'k_center', right(0.5), source='a', on='a', made=second)
    first.save(tmp_path / 'distilled' / 'toy' / 'a' / 'k_center' / 'ipc1-seed0-another')
    (tmp_path / 'distilled' / 'toy' / 'a' / 'k_center' / 'ipc1-seed0-begun.checkpoint').mkdir()
    evidence = Evidence(tmp_path)
    row = evidence.table.iloc[0]
    assert list(evidence.distilled(row).indices_N) == [5, 6]
    assert evidence.record(row.path).key == path.stem
    (found,) = evidence.distilled_sets('toy', 'k_center', ['a'], ipc=1, seed=0, protocol='paper-v1').values()
    assert found.hash == second.hash
    row.seed = 7
    with pytest.raises(Missing, match=r'the images of k_center on toy x a, seed 7, but .*k_center does not hold them'):
        evidence.distilled(row)


# --- transfer and ablation --------------------------------------------------------------------------------------------

ABC = ('a', 'b', 'c')
MOVED = {'a': 0.7, 'b': 0.5, 'c': 0.6}  # by source


def put_transfer(folder, *, leave_out=()):
    for t in ABC:
        for s in ABC:
            if (s, t) not in leave_out:
                put(folder, 'lgm', right(0.8 if s == t else MOVED[s]), source=s, on=t)
        for method, share in {'centroid': 0.5, 'k_center': 0.55, 'neighbors': 0.45}.items():
            put(folder, method, right(share), source=t, on=t)
        put(folder, 'random', right(0.4), on=t)
        put(folder, 'full', right(1.0), on=t, ipc=None)


def transfer_of(folder, methods=('lgm', 'random'), **settings):
    return transfer(Evidence(folder, made_by='x.gin'), dataset='toy', backbones=ABC, methods=methods, **settings)


def test_transfer_worked_by_hand(tmp_path):
    put_transfer(tmp_path)
    found = transfer_of(tmp_path)
    means, cells = found.tables['Means'].set_index('method'), found.tables['Cells'].set_index(['method', 'source', 'eval'])
    assert means.same_model.to_dict() == pytest.approx({'lgm': 80, 'random': 40})
    assert means.loc['lgm', 'other_models'] == pytest.approx(60) and np.isnan(means.loc['random', 'other_models'])
    assert means.loc['lgm', 'other_minus_best_real'] == pytest.approx(60 - 55)
    assert means.loc['lgm', 'best_source'] == 'a (70.0)'
    assert len(cells) == 9 + 3 and set(cells.index.get_level_values('method')) == {'lgm', 'random'}
    cell = cells.loc['lgm', 'b', 'c']
    assert (cell.accuracy, cell.minus_best_real, cell.percent_of_full) == pytest.approx((50, -5, 50))
    assert cell.low < 50 < cell.high and cell.minus_best_real_low < -5 < cell.minus_best_real_high
    assert (cell.best_real, cell.seeds) == ('k_center', 1) and 'b k_center' in found.text
    assert len(report.write(found, tmp_path / 'out', 'transfer', command='x')) == 5


def test_transfer_takes_herding_where_there_is_a_record_of_it(tmp_path):
    put_transfer(tmp_path)
    for t in ABC:
        put(tmp_path, 'herding', right(0.65), source=t, on=t)
    found = transfer_of(tmp_path)
    assert set(found.tables['Cells'].best_real) == {'herding'}
    assert found.tables['Means'].other_minus_best_real[0] == pytest.approx(60 - 65)


def test_a_strangers_method_and_baseline_need_no_list(tmp_path):
    put_transfer(tmp_path)
    facts = {'real': True, 'needs_backbone': False, 'needs_seed': True, 'needs_ipc': True}
    for t in ABC:
        put(tmp_path, 'my_choice', right(0.6), source='anything', on=t, facts=facts | {'needs_backbone': True})
        put(tmp_path, 'my_draw', right(0.65), on=t, facts=facts)
        put(tmp_path, 'my_half', right(0.9), source='a', on=t, kind='synthetic')
        for s in ABC:
            put(tmp_path, 'my_art', right(0.3), source=s, on=t, kind='synthetic')
            put(tmp_path, 'flat', right(0.9), source=s, on=t, name='lgm', kind='synthetic')
            put(tmp_path, 'herding', right(0.5), source=s, on=t, digest=f'chosen by {s}')
            put(tmp_path, 'my_centroid', right(0.5), source=s, on=t, digest=f'chosen by {s}', kind='real')
    found = transfer_of(tmp_path, methods=('random', '*', 'herding')).tables
    cells = found['Cells']
    # all whole matrices, without variants, half ones, and the second name of the same images
    assert set(cells.method) == {'random', 'herding', 'lgm', 'my_art', 'my_draw'}
    assert set(cells.best_real) == {'my_draw'} and set(cells[cells.method == 'my_draw'].source) == {'any'}
    assert list(found['Means'].method)[0] == 'random' and list(found['Means'].method)[-1] == 'herding'
    with pytest.raises(Missing, match='toy x a: my_half from b ipc 1'):
        transfer_of(tmp_path, methods=('my_half',))


def test_transfer_needs_full_data_and_some_choice_of_real_images(tmp_path):
    for t in ABC:
        put(tmp_path, 'full', right(1.0), on=t, ipc=None)
        for s in ABC:
            put(tmp_path, 'lgm', right(0.8), source=s, on=t)
    with pytest.raises(Missing, match='toy x a: a choice of real images ipc 1; toy x b: '):
        transfer_of(tmp_path, methods=('*',))


def test_transfer_names_what_is_missing(tmp_path):
    put_transfer(tmp_path, leave_out=[('b', 'c')])
    with pytest.raises(Missing, match=r'1 of the required cells .*: toy x c: lgm from b ipc 1\. .*--gin_file=x\.gin'):
        transfer_of(tmp_path)
    put(tmp_path, 'lgm', right(0.5), source='b', on='c')
    # what is asked for is needed, though as a reference it is not; what is only a reference needs no off-diagonal
    with pytest.raises(Missing, match='9 of the required cells .*: toy x a: herding ipc 1; toy x a: herding from b ipc 1; '):
        transfer_of(tmp_path, methods=('herding',))
    next((tmp_path / 'records' / 'toy' / 'c' / 'full').iterdir()).unlink()
    with pytest.raises(Missing, match=r'toy x c: full\. Make'):
        transfer_of(tmp_path)


def test_ablation_worked_by_hand(tmp_path):
    own = {'lgm': (0.8, 0.7), 'no_pyramid': (0.75, 0.55)}
    moved = {'lgm': (0.6, 0.5), 'no_pyramid': (0.3, 0.3)}
    for variant in own:
        for i, (s, t) in enumerate([('a', 'b'), ('b', 'a')]):
            put(tmp_path, variant, right(own[variant][i]), source=s, on=s)
            put(tmp_path, variant, right(moved[variant][i]), source=s, on=t)
    found = ablation(Evidence(tmp_path), dataset='toy', backbones=('a', 'b'), variants=('lgm', 'no_pyramid'))
    rows = found.tables['Variants'].set_index(['setting', 'variant'])
    assert rows.accuracy.to_dict() == pytest.approx({
        ('same model', 'full'): 75, ('same model', '- pyramid'): 65,
        ('other models', 'full'): 55, ('other models', '- pyramid'): 30,
    })  # fmt: skip
    assert list(rows.minus_full) == pytest.approx([0, -10, 0, -25]) and list(rows.published) == [87.2, 85.7, 77.8, 67.1]
    last = rows.loc['other models', '- pyramid']
    assert last.minus_full_low < -25 < last.minus_full_high < 0 and (last.pairs, last.seeds) == (2, 1)
    assert rows.loc['same model', 'full'].minus_full_high == 0 and len(found.tables['Cells']) == 8
    with pytest.raises(Missing, match='toy x a: no_decorrelation ipc 1'):
        ablation(Evidence(tmp_path), dataset='toy', backbones=('a', 'b'), variants=('lgm', 'no_decorrelation'))
    report.write(found, tmp_path / 'out', 'ablation', command='x')
    for s, t in itertools.product('ab', 'ab'):
        for label, name in {'flat': 'lgm', 'half': 'lgm', 'sfm': 'sfm'}.items():
            if label != 'half' or s == t:
                put(tmp_path, label, right(0.5), source=s, on=t, name=name)
    found = ablation(Evidence(tmp_path), dataset='toy', backbones=('a', 'b'), variants=('lgm', 'no_pyramid', '*'))
    assert list(dict.fromkeys(found.tables['Cells'].variant)) == ['lgm', 'no_pyramid', 'flat']


# --- alignment --------------------------------------------------------------------------------------------------------


def on_a_circle(*degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_mutual_neighbours_worked_by_hand():
    # nearest: 1, 0, 1, 2 and 1, 2, 1, 2
    a_ND, b_ND = on_a_circle(0, 10, 30, 60), on_a_circle(0, 40, 50, 70)
    assert alignment.mutual_knn(a_ND, b_ND, count=1) == 3 / 4
    assert alignment.mutual_knn(a_ND, b_ND, count=3) == 1  # all others
    # cosines: lengths do not count
    assert alignment.mutual_knn(a_ND, b_ND * np.array([[9], [1], [0.1], [3]]), count=1) == 3 / 4


def test_cka_worked_by_hand():
    # one feature each: the squared correlation, of (-1, 0, 1) and (-4, -1, 5) / 3
    a_ND, b_ND = np.array([[1.0], [2], [3]]), np.array([[1.0], [2], [4]])
    assert alignment.linear_cka(a_ND, b_ND) == pytest.approx(27 / 28)
    rng = np.random.default_rng(0)
    a_ND, b_ND = rng.normal(size=(12, 5)), rng.normal(size=(12, 3))
    centring = np.eye(12) - 1 / 12
    k, m = (centring @ f_ND @ f_ND.T @ centring for f_ND in (a_ND, b_ND))
    hsic = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert alignment.linear_cka(a_ND, b_ND) == pytest.approx(hsic)


def test_both_measures_know_the_same_space_however_it_is_turned_and_scaled():
    rng = np.random.default_rng(1)
    a_ND = rng.normal(size=(60, 8)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    for same in (a_ND, 5 * a_ND @ turn):
        assert alignment.mutual_knn(a_ND, same, count=7) == 1
        assert alignment.linear_cka(a_ND, same) == pytest.approx(1)


def test_unrelated_spaces_share_neighbours_by_chance_and_blocks_change_nothing():
    rng = np.random.default_rng(2)
    a_ND, b_ND = rng.normal(size=(2, 1100, 32))  # more than one block
    assert alignment.mutual_knn(a_ND, b_ND, count=10) == pytest.approx(10 / 1099, abs=0.005)
    assert alignment.linear_cka(a_ND, b_ND) < 0.1
    unit_ND = a_ND / np.linalg.norm(a_ND, axis=1, keepdims=True)
    cosine_NN = unit_ND @ unit_ND.T - 2 * np.eye(1100)
    brute_NK = np.argsort(-cosine_NN, axis=1)[:, :3]
    found_NK = alignment._nearest(a_ND, 3)
    assert np.array_equal(np.sort(found_NK), np.sort(brute_NK))


def pearson(x, y):
    return float(np.corrcoef(x, y)[0, 1])


def test_the_permutation_p_counts_relabellings_of_the_backbones():
    rng = np.random.default_rng(3)
    x = rng.random((4, 4))
    x += x.T
    assert alignment.permutation_p(x, 2 * x + 1, pearson) == pytest.approx(1 / 24)  # the identity alone
    assert alignment.permutation_p(x, -x, pearson) == 1  # nothing is worse
    y, off = rng.random((4, 4)), ~np.eye(4, dtype=bool)
    orders = itertools.permutations(range(4))
    turned = [pearson([x[o[i], o[j]] for i in range(4) for j in range(4) if i != j], y[off]) for o in orders]
    p = alignment.permutation_p(x, y, pearson)
    assert p == pytest.approx(np.mean(np.array(turned) >= turned[0] - 1e-12)) and 0 < p <= 1
    # the diagonal does not count, and of many backbones some relabellings are drawn, always the same
    assert alignment.permutation_p(x + np.diag([9, 0, 0, -9]), y, pearson) == p
    assert np.isnan(alignment.permutation_p(np.ones((4, 4)), y, lambda x, y: float('nan')))
    z = rng.random((8, 8))
    assert 0 < alignment.permutation_p(z, z, pearson) == pytest.approx(1 / 5040)


def features_world(results_dir, data, backbones):
    """Return evidence whose features are the pixels of a picture, as fractions, times a backbone's matrix."""

    def features(split, backbone, view):
        assert view.side == 8, 'the test view'
        pixels_ND = np.stack([np.asarray(split.images[i], np.float32).ravel() / 255 for i in range(len(split))])
        return (pixels_ND @ backbone.matrix)[None]

    def protocol(name):
        row, _ = registry.find('protocol', name)
        return partial(row.load(), **row.defaults())

    common = {'input_side': 8, 'interpolation': 'bilinear', 'device': torch.device('cpu')}
    made = {name: SimpleNamespace(matrix=np.asarray(matrix, np.float32), **common) for name, matrix in backbones.items()}
    store = SimpleNamespace(features=features)
    load = Loaders(dataset=lambda name: data, backbone=lambda name, data: made[name], store=lambda: store, protocol=protocol)
    return Evidence(results_dir, made_by='x.gin', load=load)


def dataset_of(
    train_NHWC, train_labels, test_NHWC, test_labels, class_names, groups=(None, None), of_groups=(), homes=()
):
    group_names = tuple(group.name for group in of_groups)
    parts = (('train', train_NHWC, train_labels, groups[0]), ('test', test_NHWC, test_labels, groups[1]))
    splits = (
        Split(name, Pictures(images), np.asarray(labels), tuple(class_names), name, of, group_names)
        for name, images, labels, of in parts
    )
    return Dataset('toy', *splits, 'MIT', 'made up', groups=of_groups, homes=homes)


def test_alignment_correlates_as_scipy_does(tmp_path):
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, size=(N, 1, 2, 3))
    data = dataset_of(images, np.arange(N) % 2, images, np.arange(N) % 2, ('ant', 'bee'))
    backbones = {name: rng.normal(size=(6, 6)) for name in ABC}
    for s, t in itertools.product(ABC, ABC):
        share = 0.9 if s == t else 0.3 + 0.05 * rng.integers(10)
        put(tmp_path, 'lgm', right(share), source=s, on=t)
    evidence = features_world(tmp_path, data, backbones)
    found = alignment.alignment(evidence, dataset='toy', backbones=ABC, neighbors=3)
    pairs, correlations = found.tables['Pairs'], found.tables['Correlation'].set_index(['measure', 'with'])
    assert len(pairs) == 6 and len(correlations) == 4 and list(pairs['source'][:2]) == ['a', 'a']
    features = {name: np.asarray(evidence.features(data.test, evidence.backbone(name, data))) for name in ABC}
    first = pairs.iloc[0]  # a to b
    assert first.mutual_knn == alignment.mutual_knn(features['a'], features['b'], count=3)
    assert first.cka == pytest.approx(alignment.linear_cka(features['a'], features['b']))
    assert list(pairs.percent_of_own) == pytest.approx(list(pairs.transfer / 0.9))
    for (measure, target), row in correlations.iterrows():
        x, y = pairs[measure], pairs[target]
        assert row.pearson == pytest.approx(scipy_stats.pearsonr(x, y).statistic)
        assert row.spearman == pytest.approx(scipy_stats.spearmanr(x, y).statistic)
        assert 1 / 6 - 1e-12 <= row.p_pearson <= 1 and 1 / 6 - 1e-12 <= row.p_spearman <= 1
    assert 'The published experiment is another one: sets distilled on ImageNet-1k, and 1-nearest-neigh' in found.text
    assert 'no coefficient; computed from the cells, with mutual k-NN: Pearson 0.83, Spearman 0.85 over 12' in found.text
    assert '6 permutations the smallest possible p-value is 0.167' in found.text
    report.write(found, tmp_path / 'out', 'alignment', command='x')
    (axis, _) = found.figure.axes
    assert axis.get_ylabel() == 'transfer: test accuracy, %'
    of_lgm = (tmp_path / 'records' / 'toy' / 'b' / 'lgm').iterdir()
    next(path for path in of_lgm if load(path).cell.source_backbone == 'c').unlink()
    with pytest.raises(Missing, match='toy x b: lgm from c ipc 1'):
        alignment.alignment(features_world(tmp_path, data, backbones), dataset='toy', backbones=ABC)


def test_transfer_may_be_a_share_of_the_accuracy_of_the_own_set(tmp_path):
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, size=(N, 1, 2, 3))
    data = dataset_of(images, np.arange(N) % 2, images, np.arange(N) % 2, ('ant', 'bee'))
    for s, t in itertools.product(ABC, ABC):
        share = {'a': 0.8, 'b': 0.5, 'c': 1.0}[t] if s == t else {'a': 0.4, 'b': 0.5, 'c': 0.1}[t]
        put(tmp_path, 'lgm', right(share), source=s, on=t, protocol='nn1-v1', dataset='imagenet1k')
    evidence = features_world(tmp_path, data, {name: rng.normal(size=(6, 6)) for name in ABC})
    where = {'dataset': 'imagenet1k', 'backbones': ABC, 'neighbors': 3, 'protocol': 'nn1-v1'}
    found, plain = alignment.alignment(evidence, **where, relative=True), alignment.alignment(evidence, **where)
    rows = found.tables['Pairs'].set_index(['source', 'eval'])
    assert {t: list(rows.percent_of_own[:, t]) for t in ABC} == {
        'a': pytest.approx([50, 50]), 'b': pytest.approx([100, 100]), 'c': pytest.approx([10, 10])
    }  # fmt: skip
    # the interval is that of the share: all that b's own set answers, b answers in each draw
    assert (rows.low['a', 'b'], rows.high['a', 'b']) == pytest.approx((100, 100))
    assert rows.low['b', 'a'] < 50 < rows.high['b', 'a']
    drawn = [line for line in found.figure.axes[0].collections if len(line.get_segments()) == 2]
    assert found.figure.axes[0].get_ylabel().startswith('transfer: % of') and len(drawn) == len(ABC)
    heights = sorted(y for line in drawn for (_, low), (_, high) in line.get_segments() for y in [low, high])
    assert heights == pytest.approx(sorted([*rows.low, *rows.high]))
    # this is the published experiment, and without the share it is another
    assert 'The published experiment is this one: sets distilled on ImageNet-1k' in found.text
    assert 'The published experiment is another one: sets' in plain.text
    pd.testing.assert_frame_equal(found.tables['Correlation'], plain.tables['Correlation'])


# --- where distilled images lie ---------------------------------------------------------------------------------------


def test_places_worked_by_hand():
    # the members lie 3, 0 and 3 from the mean of the others
    inside, between, outside = embedding.positions(np.array([[0.0], [2], [4]]), np.array([[2.0], [4.5], [6]]))
    assert inside == {'percentile': 0, 'times_median': 0}
    assert between == {'percentile': pytest.approx(100 / 3), 'times_median': pytest.approx(2.5 / 3)}
    assert outside == {'percentile': 100, 'times_median': pytest.approx(4 / 3)}


def test_a_member_is_as_far_as_from_the_mean_of_the_others():
    f_ND = np.random.default_rng(5).normal(size=(9, 4))
    left_out = [np.linalg.norm(f_ND[i] - np.delete(f_ND, i, axis=0).mean(axis=0)) for i in range(9)]
    made_KD = f_ND.mean(axis=0) + np.eye(4)[:1] * np.linspace(0.1, 5, 20)[:, None]
    for made_D, place in zip(made_KD, embedding.positions(f_ND, made_KD), strict=True):
        distance = np.linalg.norm(made_D - f_ND.mean(axis=0))
        assert place['percentile'] == pytest.approx(100 * np.mean(np.array(left_out) < distance))
        assert place['times_median'] == pytest.approx(distance / np.median(left_out))


def grey(*levels):
    """Return plain pictures of one pixel, (N, 1, 1, 3)."""
    return np.repeat(np.array(levels, np.uint8)[:, None, None, None], 3, axis=3)


def test_embedding_reads_each_backbones_own_set(tmp_path):
    train = np.concatenate([grey(100, 110, 120), grey(200, 210, 220)])
    train[0, 0, 0, 1] += 1  # two components, for the figure
    data = dataset_of(train, [0, 0, 0, 1, 1, 1], train, [0, 0, 0, 1, 1, 1], ('ant', 'bee'))
    for name, levels in {'a': (110, 255), 'b': (0, 211)}.items():
        put(tmp_path, 'lgm', right(0.5), source=name, on=name, made=DistilledSet(np.arange(2), grey(*levels)))
    evidence = features_world(tmp_path, data, {'a': np.eye(3), 'b': 2 * np.eye(3)})
    found = embedding.embedding(evidence, dataset='toy', backbones=('a', 'b'))
    images = found.tables['Images'].set_index(['backbone', 'class'])
    assert images.percentile.to_dict() == pytest.approx(
        {('a', 'ant'): 0, ('a', 'bee'): 100, ('b', 'ant'): 100, ('b', 'bee'): 100 / 3}
    )
    assert images.times_median['a', 'bee'] == pytest.approx(45 / 15)
    summary = found.tables['Backbones'].set_index('backbone')
    assert list(summary.beyond_95th_percent) == [50, 50] and list(summary.images) == [2, 2]
    report.write(found, tmp_path / 'out', 'embedding', command='x')


def test_the_nearest_real_image_is_found_for_every_encoder(tmp_path):
    colours = [(255, 0, 0), (200, 60, 0), (0, 255, 0), (0, 60, 200)]
    train = np.array(colours, np.uint8)[:, None, None, :]
    data = dataset_of(train, [0, 0, 1, 1], train, [0, 0, 1, 1], ('ant', 'bee'))
    made = np.array([(180, 50, 0), (0, 200, 100)], np.uint8)[:, None, None, :]
    for name in ('plain', 'blueish'):
        # the labels' order is not the images': image 1 is the ant
        put(tmp_path, 'lgm', right(0.5), source=name, on=name, made=DistilledSet(np.array([1, 0]), made[::-1]))
    evidence = features_world(tmp_path, data, {'plain': np.eye(3), 'blueish': np.diag([1, 1, 9])})
    found = nearest(evidence, dataset='toy', backbones=('plain', 'blueish'))
    table = found.tables['Encoders'].set_index('backbone')
    # plain: the ant's is train 1, the bee's train 2; blueish sees train 3 for the bee
    cosines = [
        (180 * 200 + 50 * 60) / np.hypot(180, 50) / np.hypot(200, 60), 200 / np.hypot(200, 100),
    ]  # fmt: skip
    assert table.mean_cosine_to_nearest_of_class['plain'] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert list(table.percent_nearest_of_all_is_of_class) == [100, 100]
    (agreement,) = found.tables['Same choice'].itertuples(index=False)
    assert (agreement.backbone, agreement.other, agreement.percent_same_image) == ('plain', 'blueish', 50)
    report.write(found, tmp_path / 'out', 'nearest', command='x')
    with pytest.raises(Missing, match='toy x plain: sfm ipc 1; toy x blueish: sfm ipc 1'):
        nearest(evidence, dataset='toy', backbones=('plain', 'blueish'), method='sfm')


# --- spurious backgrounds ---------------------------------------------------------------------------------------------

BIRDS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)])  # the first pixel; the second is the ground
GROUNDS = np.array([(0, 0, 0), (255, 255, 255)])


def scene(group):
    return np.stack([BIRDS[group // 2], GROUNDS[group % 2]])[None]


def test_spurious_gap_groups_and_what_the_images_tell(tmp_path):
    home = np.array(HOME_OF_CLASS)
    at_home = [2 * bird + home[bird] for bird in range(4)]
    train_groups, test_groups = np.array([*at_home, *at_home, *range(8)]), np.repeat(np.arange(8), 2)
    data = dataset_of(
        [scene(g) for g in train_groups], train_groups // 2, [scene(g) for g in test_groups], test_groups // 2,
        CLASS_NAMES, groups=(train_groups, test_groups), of_groups=GROUPS, homes=('water', 'water', 'land', 'land'),
    )  # fmt: skip
    chosen = DistilledSet(np.arange(4), indices_N=np.arange(4))  # every bird at home
    home_N = test_groups % 2 == home[test_groups // 2]
    # a probe that goes by the ground, one that knows the birds but for one group, and one in between
    knows = test_groups != 1  # crested duck on land
    for seed, correct_N in enumerate([home_N, knows]):
        put(tmp_path, 'k_center', correct_N[None], source='sees', on='sees', data=data, made=chosen, seed=seed)
    put(tmp_path, 'full', knows[None], on='sees', ipc=None, data=data, made=chosen)
    put(tmp_path, 'k_center', knows[None], source='blind', on='blind', data=data, made=chosen)
    put(tmp_path, 'full', knows[None], on='blind', ipc=None, data=data, made=chosen)
    matrices = {'sees': np.diag([1, 1, 1, 5, 5, 5]), 'blind': np.diag([1, 1, 1, 0, 0, 0])}
    evidence = features_world(tmp_path, data, matrices)
    found = spurious(evidence, dataset='toy', backbones=('sees', 'blind'), methods=('full', 'k_center'))
    rows = found.tables['Methods'].set_index(['method', 'backbone'])
    half = rows.loc['k_center', 'sees']
    assert (half.accuracy, half.at_home, half.away, half.gap) == pytest.approx((68.75, 100, 37.5, 62.5))
    assert (half.worst_group, half.seeds) == (0, 2)  # the mean over seeds of each seed's worst
    other = rows.loc['full', 'blind']
    assert (other.at_home, other.away, other.gap, other.worst_group) == pytest.approx((100, 75, 25, 0))
    assert other.adjusted == pytest.approx(100 * 15 / 16)  # that group has one of 16 training images
    assert rows.tells_background.to_dict() == pytest.approx({
        ('full', 'sees'): 100, ('k_center', 'sees'): 100, ('full', 'blind'): 50, ('k_center', 'blind'): 50,
    })  # fmt: skip
    gaps = found.tables['Gap by encoder'].set_index('backbone')
    assert gaps.loc['sees'].to_dict() == pytest.approx({'full': 25, 'k_center': 62.5})
    groups = found.tables['Groups'].set_index(['method', 'backbone', 'group'])
    row = groups.loc['k_center', 'sees', 'crested duck on land']
    assert (row.n_test, row.n_train, row.accuracy) == (2, 1, 0) and len(groups) == 8 * 4
    assert groups.loc['k_center', 'sees', 'capped duck on water'].accuracy == 50
    report.write(found, tmp_path / 'out', 'spurious', command='x')
    with pytest.raises(Missing, match=r'toy x sees: random ipc 1; toy x blind: random ipc 1\. Make'):
        spurious(evidence, dataset='toy', backbones=('sees', 'blind'), methods=('full', 'random'))
    put(tmp_path, 'full', knows[None], on='blind', ipc=None, data=data, settings={'rate': 2})
    with pytest.raises(InputError, match='two records of one cell and seed'):
        spurious(features_world(tmp_path, data, matrices), dataset='toy', backbones=('blind',), methods=('full',))


def groups_of(*pairs):
    return tuple(Group(f'{label} on {ground}', label, ground) for label, ground in pairs)


# Of published sets in miniature: the groups (class, background), the homes, the groups of train and of test images.
SPURIOUS = {
    'waterbirds': (
        groups_of((0, 'land'), (0, 'water'), (1, 'land'), (1, 'water')), ('land', 'water'),
        [0] * 5 + [1] + [3] * 5 + [2], [0, 1, 2, 3] * 2,
    ),
    # a dog's home in test is another dog's; the beach is nobody's
    'spawrious': (
        groups_of((0, 'jungle'), (0, 'beach'), (0, 'snow'), (1, 'snow'), (1, 'beach'), (1, 'jungle')), ('jungle', 'snow'),
        [0] * 5 + [1] + [3] * 5 + [4], [2, 5] * 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', SPURIOUS)
def test_spurious_reads_groups_and_homes_from_the_data_set(tmp_path, name):
    groups, homes, train, test = SPURIOUS[name]
    train, test = np.array(train), np.array(test)
    grounds = list(dict.fromkeys(group.background for group in groups))

    def pictures(groups_N):
        colours = [(BIRDS[groups[g].label], 80 * np.full(3, grounds.index(groups[g].background))) for g in groups_N]
        return np.array(colours)[:, None]

    label_of = np.array([group.label for group in groups])
    data = dataset_of(
        pictures(train), label_of[train], pictures(test), label_of[test], ('x', 'y'), (train, test), groups, homes
    )
    chosen = DistilledSet(np.array([0, 1]), indices_N=np.array([0, 6]))  # both at home
    shows_home_N = np.array([groups[g].background == homes[groups[g].label] for g in test])
    put(tmp_path, 'centroid', shows_home_N[None], source='sees', on='sees', data=data, made=chosen)
    put(tmp_path, 'my_choice', ~shows_home_N[None], source='sees', on='sees', data=data, made=chosen, kind='real')
    evidence = features_world(tmp_path, data, {'sees': np.diag([1, 1, 1, 9, 9, 9])})
    found = spurious(evidence, dataset='toy', backbones=('sees',), methods=('*',))
    rows = found.tables['Methods'].set_index('method')
    assert list(rows.index) == ['centroid', 'my_choice']
    assert rows.tells_background['centroid'] == 100, 'images of both homes tell them apart, in test too'
    share = {'waterbirds': 50, 'spawrious': 0}[name]
    assert f'{share} % of the test images do' in found.text and '(50 is chance)' in found.text
    if name == 'waterbirds':
        assert list(rows.gap) == [100, -100] and rows.adjusted['centroid'] == pytest.approx(100 * 10 / 12)
    else:  # no test image at home, no tested group in training
        assert rows[['at_home', 'gap', 'adjusted']].isna().all(axis=None) and list(rows.away) == [0, 100]
    assert set(found.tables['Groups'].group) == {groups[g].name for g in test}
    report.write(found, tmp_path / 'out', 'spurious', command='x')
    evidence = features_world(tmp_path, replace(data, homes=()), {'sees': np.eye(6)})
    with pytest.raises(InputError, match="spurious.dataset: expected a data set with home backgrounds, .*, got 'toy'"):
        spurious(evidence, dataset='toy', backbones=('sees',), methods=('*',))


@pytest.mark.parametrize('name', ['waterbirds', 'spawrious'])
def test_spurious_runs_on_miniatures_of_the_published_sets(tmp_path, monkeypatch, name):
    install(name, tmp_path / 'data', monkeypatch)
    places = Places(data_root=tmp_path / 'data', weights_root=None, cache_dir=tmp_path / 'cache')
    data = registry.find('dataset', name)[0].load()(name, places)
    first_C = np.array([np.flatnonzero(data.train.labels_N == label)[0] for label in range(data.train.num_classes)])
    chosen = DistilledSet(np.arange(len(first_C)), indices_N=first_C)
    correct_N = data.test.labels_N == 0
    put(tmp_path, 'centroid', correct_N[None], source='net', on='net', dataset=name, data=data, made=chosen)
    evidence = features_world(tmp_path, data, {'net': np.eye(4)})
    rng = np.random.default_rng(0)
    store = SimpleNamespace(features=lambda split, backbone, view: rng.normal(size=(1, len(split), 4)).astype(np.float32))
    evidence.load = replace(evidence.load, store=lambda: store)
    found = spurious(evidence, dataset=name, backbones=('net',), methods=('*',))
    row = found.tables['Methods'].iloc[0]
    assert '0 % of the test images do' in found.text and f'({100 / len(set(data.homes)):.0f} is chance)' in found.text
    assert row.away == pytest.approx(100 * correct_N.mean()) and np.isnan(row.at_home)
    assert set(found.tables['Groups'].group) == {data.groups[g].name for g in data.test.groups_N}


# --- files ------------------------------------------------------------------------------------------------------------

TABLE = {'name': ['x', None], 'two_words': [1.25, np.nan], 'p': [0.0123, 2.0], 'n': [3, 4]}


def test_a_markdown_table_worked_by_hand():
    assert report.markdown_table(pd.DataFrame(TABLE), formats={'p': '.3f'}) == '\n'.join([
        '| name | two words | p | n |', '| --- | ---: | ---: | ---: |', '| x | 1.2 | 0.012 | 3 |', '|  |  | 2.000 | 4 |',
    ])  # fmt: skip


def made_report():
    figure = Figure(figsize=(2, 1.5), layout='constrained')
    axis = figure.subplots()
    axis.errorbar([1, 2], [3, 4], yerr=[0.1, 0.2], fmt='o', label='drawn')
    axis.legend()
    tables = {'Main': pd.DataFrame(TABLE), 'Other one': pd.DataFrame({'third': [1 / 3]})}
    return report.Report('What came out', 'How to *read* it.', tables, figure, {'p': '.3f'})


def test_a_report_is_written_the_same_every_time(tmp_path):
    paths = report.write(made_report(), tmp_path, 'mine', command='python -m it')
    assert [path.name for path in paths] == ['mine.md', 'mine.svg', 'mine.png', 'mine.csv', 'mine_other_one.csv']
    before = files_below(tmp_path)
    assert set(before) == {path.name for path in paths}
    report.write(made_report(), tmp_path, 'mine', command='python -m it')
    assert files_below(tmp_path) == before
    assert before['mine.csv'] == b'name,two_words,p,n\nx,1.25,0.0123,3\n,,2,4\n'
    assert before['mine_other_one.csv'] == b'third\n0.333333\n'
    text = before['mine.md'].decode()
    assert text.startswith('# What came out\n\nHow to *read* it.\n\n![What came out](mine.png)\n\n## Main\n\n| name |')
    assert text.endswith('## Other one\n\n| third |\n| ---: |\n| 0.3 |\n\nMade by `python -m it`.\n')
    assert before['mine.svg'].startswith(b'<?xml') and before['mine.png'].startswith(b'\x89PNG')


def test_a_picture_gives_png_alone(tmp_path):
    found = report.Report('Sheet', 'Text.', {'Main': pd.DataFrame({'n': [1]})}, Image.new('RGB', (3, 2), 'red'))
    names = [path.name for path in report.write(found, tmp_path, 'sheet', command='x')]
    assert names == ['sheet.md', 'sheet.png', 'sheet.csv']
    with Image.open(tmp_path / 'sheet.png') as picture:
        assert picture.size == (3, 2)
    bare = report.Report('Bare', 'Text.', {'Main': pd.DataFrame({'n': [1]})})
    assert [path.name for path in report.write(bare, tmp_path, 'bare', command='x')] == ['bare.md', 'bare.csv']


# --- the command and its gin files ------------------------------------------------------------------------------------


def analyze_with(*arguments):
    return commands.run('bench.analyze', *map(str, arguments))


def test_the_command_writes_the_analysis_of_a_results_folder(tmp_path):
    put_transfer(tmp_path)
    lines = ["transfer.dataset = 'toy'", f'transfer.backbones = {list(ABC)}', "transfer.methods = ['lgm', 'random']"]
    bindings = [f'--gin_bindings={line}' for line in [*lines, "analyze.name = 'mine'"]]
    outcome = analyze_with('--gin_file=gin/analysis/transfer.gin', f'--results_dir={tmp_path}', *bindings)
    assert (outcome.status, outcome.err) == (0, '')
    written = set(files_below(tmp_path / 'analysis'))
    assert written == {'mine.csv', 'mine.md', 'mine.png', 'mine.svg', 'mine_cells.csv'}
    assert outcome.out.startswith(f'Transfer on toy: {tmp_path}/analysis/mine.md, ')
    with open(tmp_path / 'analysis' / 'mine.csv') as file:
        assert next(csv.DictReader(file))['same_model'] == '80'
    command = (tmp_path / 'analysis' / 'mine.md').read_text().splitlines()[-1]
    assert command.startswith('Made by `python -m bench.analyze --gin_file=gin/analysis/transfer.gin --gin_bindings="')


@pytest.mark.parametrize(
    ('files', 'lines', 'said'),
    [
        ([], [], 'expected --gin_file=FILE, such as gin/analysis/transfer.gin; got none'),
        (['none'], [], 'no gin file gin/analysis/none.gin'),
        (['transfer'], ["analyze.analysis = 'transfr'"], "unknown analysis 'transfr'; did you mean transfer?"),
        (['transfer'], ["analyze.analysis = ''"], 'expected analyze.analysis = NAME, see python -m bench.list --analyses'),
        (['transfer'], [], 'of the required cells have no record in'),
        (['transfer'], [], 'python -m bench.run --gin_file=gin/suites/aviary.gin --results_dir='),
        (['ablation'], [], '--gin_file=gin/suites/ablation.gin'),
        (['spurious'], [], '--gin_file=gin/suites/spurious.gin'),
        (['transfer'], ['transfer.ipc = 0'], 'transfer.ipc: expected an integer >= 1, got 0'),
        (['transfer'], ["transfer.backbones = 'tiny_moco'"], "transfer.backbones: expected a list, got 'tiny_moco'"),
        (['transfer'], ['transfer.backbones = []'], 'transfer.backbones: expected 1 or more, got []'),
        (['ablation'], ["ablation.backbones = ['a']"], "ablation.backbones: expected 2 or more, got ['a']"),
        (['alignment'], ["alignment.backbones = ['a', 'b']"], 'alignment.backbones: expected 3 or more, got'),
        (['spurious'], ['spurious.backbones = []'], 'spurious.backbones: expected 1 or more, got []'),
        (['embedding'], ['embedding.backbones = []'], 'embedding.backbones: expected 1 or more, got []'),
        (['neighbors'], ['nearest.backbones = []'], 'nearest.backbones: expected 1 or more, got []'),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, files, lines, said):
    put(tmp_path, 'lgm', right(0.5), source='tiny_clip', on='tiny_clip', dataset='plumage')
    before = files_below(tmp_path)
    arguments = [f'--gin_file=gin/analysis/{name}.gin' for name in files]
    arguments += [f'--gin_bindings={line}' for line in lines]
    outcome = analyze_with(*arguments, f'--results_dir={tmp_path}')
    assert outcome.status == 2 and said in outcome.err and outcome.err.count('\n') == 1, outcome
    assert outcome.err.startswith('bench.analyze: ') and outcome.out == '' and files_below(tmp_path) == before


def test_a_missing_results_folder_and_an_idle_binding_write_nothing(tmp_path):
    outcome = analyze_with('--gin_file=gin/analysis/transfer.gin', f'--results_dir={tmp_path / "none"}')
    assert outcome.status == 2 and outcome.err.endswith('none: expected an existing folder\n')
    put_transfer(tmp_path)
    lines = ["transfer.dataset = 'toy'", f'transfer.backbones = {list(ABC)}', "transfer.methods = ['lgm']"]
    bindings = [f'--gin_bindings={line}' for line in [*lines, 'lgm.flip_prob = 0']]
    outcome = analyze_with('--gin_file=gin/analysis/transfer.gin', f'--results_dir={tmp_path}', *bindings)
    assert outcome.status == 2 and 'uses the binding lgm.flip_prob' in outcome.err and 'to analyze.analysis' in outcome.err
    assert not (tmp_path / 'analysis').exists()


def test_there_is_a_gin_file_for_every_analysis():
    named = set()
    for path in FILES:
        with loaded([str(path)], [], command=ANALYZE) as config:
            chosen = config.command_settings()
            assert config.choose('analysis', chosen['analysis']).settings['backbones']
        named.add(chosen['analysis'])
        assert (chosen['name'] or chosen['analysis']) == path.stem
    assert named == set(registry.rows('analysis'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_cell_that_an_analysis_reads_is_made_by_the_file_it_names(path):
    """Together with the main part of the suite, which makes the full method of the ablation."""
    with loaded([str(path)], [], command=ANALYZE) as config:
        chosen = config.command_settings()
        analysis = config.choose('analysis', chosen['analysis'])
        analysis = replace(analysis, settings=labelled(analysis.settings, config)[0])
    made_by = ROOT / chosen['made_by']
    assert made_by.is_file()
    evidence = Planned(ROOT / 'gin' / 'suites' / 'aviary.gin', made_by, made_by=chosen['made_by'])
    with contextlib.suppress(EverythingIsThere):
        assert analysis.call(evidence).tables
    # and the check would notice: without one cell, or without the file, it is missing
    gone = analysis.settings['backbones'][2]
    lgm = 'lgm' if path.stem.startswith('paper') else 'lgm_fast'
    diagonal = evidence.table[(evidence.table.method == lgm) & (evidence.table.eval_backbone == gone)]
    evidence.table = evidence.table.drop(diagonal[diagonal.source_backbone == gone].index)
    with pytest.raises(Missing, match=rf'x {gone}: {lgm} ipc 1'):
        analysis.call(evidence)
