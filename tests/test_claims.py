"""Every claim on made-up records: where it holds, where it does not, and where a record is missing."""

import itertools
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, files_below
from test_analysis import EverythingIsThere, Planned, dataset_of, features_world, grey, put, right, suite_files, toy_data

from bench import claims
from bench.analysis import alignment, published_tables, verdicts
from bench.analysis import suite as suite_module
from bench.analysis.claims import CLAIMS
from bench.analysis.evidence import Evidence
from bench.analysis.report import Report
from bench.analysis.suite import HOLDS, OPEN, REVERSED, SUITE, UNKNOWN, Suite, Verdict, decide, decide_no_advantage, judge
from bench.analyze import labelled
from bench.config.gin_files import loaded
from bench.core import cli
from bench.core.errors import InputError
from bench.distillation.distilled_set import DistilledSet
from bench.results import gate, published
from bench.results.statistics import Estimate
from bench.results.store import load
from tests import commands

MADE_UP = ROOT / 'tests' / 'claims.gin'
FILES = [MADE_UP, *sorted((ROOT / 'gin' / 'claims').glob('*.gin'))]
CLIP, DINO, MIM, MOCO = BACKBONES = ('tiny_clip', 'tiny_dino', 'tiny_mim', 'tiny_moco')
LGM = 'lgm_fast'  # the method of the made-up suite
COUNT = 200  # test images: a difference of 10 of them is settled
REAL = {'random': 0.4, 'centroid': 0.6, 'herding': 0.6, 'k_center': 0.58, 'neighbors': 0.55}
# on its own backbone, on the others; the number of views is judged on its own backbone alone
ABLATIONS = {
    'no_decorrelation': (0.75, 0.55), 'no_pyramid': (0.70, 0.35), 'no_augmentation': (0.5, 0.2),
    'one_view': (0.6, None), 'three_views': (0.65, None), 'ten_views': (0.7, None),
}  # fmt: skip


class At(NamedTuple):
    """A cell of the made-up world; its accuracies are a list, one for each seed."""

    method: str
    source: str
    on: str
    dataset: str = 'plumage'
    protocol: str = 'paper-v1'


def own(method, on, **where):
    return At(method, 'any' if method in ('random', 'full') else on, on, **where)


def world():
    """Return the accuracies of a world in which every claim holds."""
    cells = {}
    for on in BACKBONES:
        for method, share in REAL.items():
            cells[own(method, on)] = [share - 0.05, share, share + 0.05] if method == 'random' else [share]
            cells[own(method, on, dataset='plumage_families')] = [share + 0.1]
            cells[own(method, on, dataset='plumage_spurious')] = [share]
            if method != 'herding':
                cells[own(method, on, protocol='ridge-v1')] = [share]
        cells[own('full', on)] = [0.85]
        cells[own('full', on, dataset='plumage_families')] = [1.0]
        cells[own(LGM, on, dataset='plumage_families')] = [0.75]
        cells[own(LGM, on, dataset='plumage_spurious')] = [0.55]
        cells[own(LGM, on, protocol='ridge-v1')] = [0.7]
        for source in BACKBONES:
            moved = 0.7 if source == DINO else 0.58
            cells[At(LGM, source, on)] = [0.795, 0.8, 0.805] if source == on else [moved]
            for method, (same, other) in ABLATIONS.items():
                if source == on or other:
                    cells[At(method, source, on)] = [same if source == on else other]
    return cells


def write_cell(folder, at, shares):
    groups = np.arange(COUNT) % 2 if at.dataset == 'plumage_spurious' else None
    data = toy_data(at.dataset, count=COUNT)
    if groups is not None:
        grouped = [replace(split, groups_N=groups, group_names=('odd', 'even')) for split in (data.train, data.test)]
        data = replace(data, train=grouped[0], test=grouped[1])
    ipc = None if at.method == 'full' else 1
    if len(shares) == 1 and at.method not in ('centroid', 'herding', 'k_center', 'full'):
        shares = shares * 2  # a single drawn set decides nothing
    for seed, share in enumerate(shares):
        put(
            folder, at.method, right(share, count=COUNT), source=at.source, on=at.on, ipc=ipc, seed=seed,
            dataset=at.dataset, protocol=at.protocol, data=data,
        )  # fmt: skip


def cell_folder(folder, at):
    cells = {path: load(path).cell for path in (folder / 'records' / at.dataset / at.on / at.method).glob('*.json')}
    return [path for path, cell in cells.items() if (cell.source_backbone, cell.protocol) == (at.source, at.protocol)]


def correlations(*, spearman=0.9, p=0.02):
    """Return what alignment finds: only one of its rows is asked for."""
    row = {'pearson': 0.8, 'p_pearson': p, 'spearman': spearman, 'p_spearman': p, 'pairs': 12}
    others = {'pearson': -0.8, 'p_pearson': 1, 'spearman': -0.8, 'p_spearman': 1, 'pairs': 12}
    table = pd.DataFrame([
        {'measure': measure, 'with': target, **(row if (measure, target) == ('mutual_knn', 'transfer') else others)}
        for measure in ('cka', 'mutual_knn') for target in ('percent_of_own', 'transfer')
    ])  # fmt: skip
    return lambda evidence, **settings: Report('', '', {'Correlation': table})


def write_images(folder, *, percentiles=(100,) * 8):
    """Write the table of embedding as it was made where the images are."""
    (folder / 'analysis').mkdir(exist_ok=True)
    images = [
        {'backbone': b, 'percentile': p, 'set': f'{LGM}-{b}-{b}-1-0-paper-v1-hard'}
        for b in BACKBONES for p in (percentiles if b == MOCO else [100] * 8)
    ]  # fmt: skip
    pd.DataFrame(images).to_csv(folder / 'analysis' / 'embedding_images.csv', index=False)


@pytest.fixture(autouse=True)
def aligned(monkeypatch):
    """Test pictures would take a while to draw and encode: a test of its own judges with features."""
    monkeypatch.setattr(suite_module, 'alignment', correlations())


def suite_of(path, evidence):
    with loaded([str(path)], [], command=SUITE) as config:
        return Suite(evidence=evidence, **labelled(config.command_settings(), config)[0])


def suites(folder):
    """Return the made-up suite and those of gin/claims."""
    return [suite_of(path, Evidence(folder)) for path in FILES]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('made')
    for at, shares in world().items():
        write_cell(folder, at, shares)
    write_images(folder)
    return folder


@pytest.fixture
def results(made, tmp_path):
    """A results folder of that world, to change: a file that is written again is a new file."""
    shutil.copytree(made, tmp_path / 'results', copy_function=os.link)
    for path in (tmp_path / 'results' / 'analysis').iterdir():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return tmp_path / 'results'


def verdict_of(number, folder):
    return judge(claim_of(number), suites(folder)[0])


def claim_of(number):
    return next(claim for claim in CLAIMS if claim.number == number)


# What is different where a claim is not true, and what the verdict then says.
BREAKS = {
    1: ({own('herding', MIM): [0.8]}, 'holds on 19 of 20', 'Not above: herding on mim (0.0 ['),
    2: ({own('neighbors', b): [0.7] for b in BACKBONES}, 'holds on 2 of 3, reversed on 1', 'neighbors 70.0 ['),
    3: ({own(LGM, b): [0.5] for b in BACKBONES}, REVERSED, 'clip 58.8 ['),
    4: ({At(LGM, CLIP, MOCO): [0.2]}, 'holds on 11 of 12, reversed on 1', 'Not above: clip to moco (-20.0 ['),
    5: ({At(LGM, CLIP, MOCO): [0.95]}, 'holds on 3 of 4, reversed on 1', 'moco -15.0 ['),
    6: ({At(LGM, MIM, b): [0.9] for b in BACKBONES if b != MIM}, 'holds on 2 of 3, reversed on 1', 'over mim -20.0 ['),
    7: ({At('no_decorrelation', b, b): [0.9] for b in BACKBONES}, 'holds on 5 of 6, reversed on 1', '_decorrelation 90.0 ['),
    8: ({At('no_pyramid', s, b): [0.72] for s in BACKBONES for b in BACKBONES if s != b}, REVERSED, 'other models -11.0 ['),
    9: ({At('ten_views', b, b): [0.65] for b in BACKBONES}, 'holds on 1 of 2', 'ten_views 65.0 ['),
    11: ({own(LGM, b, dataset='plumage_spurious'): [0.7] for b in BACKBONES}, REVERSED, 'clip 10.0 ['),
    12: (
        {own(LGM, b, dataset=d): [share] for b in BACKBONES for d, share in (('plumage', 0.65), ('plumage_families', 0.98))},
        REVERSED, 'fine 11.1 [',
    ),
    14: ({own(LGM, b): [0.6, 0.8, 1.0] for b in BACKBONES}, REVERSED, 'lgm_fast 20.00 (8 degrees of freedom), random 5.00'),
    15: ({own('centroid', b, protocol='ridge-v1'): [0.9] for b in BACKBONES}, 'holds on ', 'Reversed: centroid and lgm'),
}
CHANGED_ALIGNMENT = [({'p': 0.06}, OPEN), ({'spearman': -0.9}, REVERSED), ({}, HOLDS)]
# on one backbone none beyond, half of them, or two of eight (p = 0.057)
CHANGED_IMAGES = [((95,) * 8, 'holds on 3 of 4'), ((100, 95) * 4, HOLDS), ((100, 100, *(95,) * 6), 'holds on 3 of 4')]
# A record that is not there, and how it is named.
GONE = {
    1: (own('herding', MOCO), 'herding on plumage x tiny_moco'),
    2: (own('neighbors', DINO), 'neighbors on plumage x tiny_dino'),
    3: (own('full', CLIP), 'full on plumage x tiny_clip'),
    4: (At(LGM, MIM, MOCO), 'lgm_fast from tiny_mim on plumage x tiny_moco'),
    5: (At(LGM, DINO, MIM), 'lgm_fast from tiny_dino on plumage x tiny_mim'),
    6: (At(LGM, DINO, CLIP), 'lgm_fast from tiny_dino on plumage x tiny_clip'),
    7: (At('no_augmentation', DINO, CLIP), 'no_augmentation from tiny_dino on plumage x tiny_clip'),
    8: (At('no_pyramid', MIM, MIM), 'no_pyramid on plumage x tiny_mim'),
    9: (At('three_views', MIM, MIM), 'three_views on plumage x tiny_mim'),
    10: (At(LGM, MIM, MOCO), 'lgm_fast from tiny_mim on plumage x tiny_moco'),
    11: (own('k_center', MIM, dataset='plumage_spurious'), 'k_center on plumage_spurious x tiny_mim'),
    12: (own('random', MIM, dataset='plumage_families'), 'random on plumage_families x tiny_mim'),
    13: (own(LGM, MOCO), 'lgm_fast, seed 0, on plumage through every backbone'),
    14: (own('random', MOCO), 'random on plumage x tiny_moco'),
    15: (own(LGM, CLIP, protocol='ridge-v1'), 'three methods, lgm_fast among them, under paper-v1 and ridge-v1'),
}


# --- the verdicts -----------------------------------------------------------------------------------------------------


def test_every_claim_has_a_number_and_a_test_of_its_own():
    assert [claim.number for claim in CLAIMS] == list(range(1, 16))
    for part in ('text', 'rule', 'decide'):
        assert len({getattr(claim, part) for claim in CLAIMS}) == 15
    for claim, suite in itertools.product(CLAIMS, suites(ROOT / 'nowhere')):
        cited = claim.published_for(suite)
        assert cited and '|' not in claim.text + claim.rule + cited
    assert BREAKS.keys() | {10, 13} == GONE.keys() == set(range(1, 16))


def test_the_spurious_set_of_a_suite_is_the_one_that_is_cited():
    figures = published.load(ROOT / 'results')
    cited = {suite.spurious: claim_of(11).published_for(suite) for suite in suites(ROOT / 'nowhere')}
    assert set(cited) == {'', 'plumage_spurious', 'waterbirds', 'spawrious'}
    for dataset, shown in (('waterbirds', 'Waterbirds'), ('spawrious', 'Spawrious')):
        pairs = [
            [figures[dataset, method, backbone, backbone].mean for method in ('lgm', 'random', 'centroid', 'neighbors')]
            for backbone in ('clip_vitb16', 'dinov2_vitb14', 'eva02_vitb14', 'mocov3_vitb16')
        ]
        names = ('CLIP', 'DINOv2', 'EVA-02', 'MoCo-v3')
        each = ', '.join(f'{name} {lgm} / {max(real)}' for name, (lgm, *real) in zip(names, pairs, strict=True))
        mean = np.mean([lgm - max(real) for lgm, *real in pairs])
        assert cited[dataset].startswith(f'{shown}, LGM / best real: {each} (mean difference {mean:+.0f}')
    assert cited[''] == cited['plumage_spurious'] == f'{cited["waterbirds"]}; {cited["spawrious"]}'


def test_the_published_alignment_is_cited_as_the_other_experiment_it_is():
    for suite in suites(ROOT / 'nowhere'):
        cited = claim_of(10).published_for(suite)
        assert cited.startswith('other data and another measure of transfer, as in gin/suites/paper_table6.gin: sets ')
        assert 'distilled on ImageNet-1k, and 1-nearest-neighbour accuracy' in cited
        assert 'no coefficient; computed from the cells' in cited and 'Pearson 0.83, Spearman 0.85' in cited


@pytest.mark.parametrize('claim', CLAIMS, ids=lambda claim: str(claim.number))
def test_a_claim_holds_where_it_is_true(claim, made_suite):
    verdict = judge(claim, made_suite)
    assert verdict.outcome == HOLDS, verdict.numbers


@pytest.fixture(scope='module')
def made_suite(made):
    return suites(made)[0]


@pytest.mark.parametrize('number', BREAKS)
def test_a_claim_does_not_hold_where_it_is_not(number, results):
    changes, outcome, said = BREAKS[number]
    for at, shares in changes.items():
        for path in cell_folder(results, at):
            path.unlink()
        write_cell(results, at, shares)
    verdict = verdict_of(number, results)
    assert verdict.outcome.startswith(outcome) and said in verdict.numbers, verdict


@pytest.mark.parametrize('number', GONE)
def test_a_claim_is_not_decided_where_a_record_is_missing(number, results):
    at, named = GONE[number]
    paths = cell_folder(results, at)
    assert paths
    for path in paths:
        path.unlink()
    assert verdict_of(number, results) == Verdict(UNKNOWN, '', f'missing: {named}')


@pytest.mark.parametrize(('change', 'outcome'), CHANGED_ALIGNMENT)
def test_claim_10_is_what_the_analysis_says(change, outcome, made_suite, monkeypatch):
    monkeypatch.setattr(suite_module, 'alignment', correlations(**change))
    verdict = judge(claim_of(10), made_suite)
    assert verdict.outcome == outcome and verdict.numbers.endswith('with 4 backbones p is at least 0.042')


@pytest.mark.parametrize(('percentiles', 'outcome'), CHANGED_IMAGES)
def test_claim_13_counts_images_beyond_those_of_chance(percentiles, outcome, results):
    write_images(results, percentiles=percentiles)
    assert verdict_of(13, results).outcome == outcome


# --- the rules of verdicts ----------------------------------------------------------------------------------------------


def figure(mean, *, half=0.01, **marks):
    """Return an estimate with this mean and about this half of an interval."""
    spread_UN = np.linspace(-1, 1, 1001)[None] * half / 2 * (3 * 1001) ** 0.5
    return Estimate(mean, {(str(mean), str(mean)): spread_UN}, **marks)


def test_an_outcome_says_how_many_cases_hold():
    assert figure(0.0).half == pytest.approx(0.01, rel=0.03)
    assert decide({'a': figure(0.05), 'b': figure(0.03)}) == (HOLDS, [])
    assert decide({'a': figure(0.05), 'b': figure(0.001)}) == ('holds on 1 of 2', ['b'])
    assert decide({'a': figure(0.05), 'b': figure(-0.05)}) == ('holds on 1 of 2, reversed on 1', ['b'])
    assert decide({'a': figure(-0.05)}) == (REVERSED, ['a'])
    assert decide({'a': figure(-0.05), 'b': figure(0.0)}) == ('reversed on 1 of 2', ['a', 'b'])
    # at 5 % with a chance of 80 %: 2.8 standard errors
    assert decide({'a': figure(0.001)}) == ('open (1.4 points could have been seen)', ['a'])
    assert decide({'a': figure(0.05, one_set=True)})[0].startswith(OPEN)
    # one of ten at p = 0.03 is what chance gives
    assert decide({'a': figure(0.011)})[0] == HOLDS
    assert decide({str(i): figure(0.011 if not i else 0.0) for i in range(10)})[0].startswith(OPEN)


def test_no_advantage_needs_a_margin():
    assert decide_no_advantage(figure(0.0)) == decide_no_advantage(figure(-0.2)) == HOLDS
    assert decide_no_advantage(figure(0.004)) == HOLDS
    assert decide_no_advantage(figure(0.009)).startswith(OPEN)
    assert decide_no_advantage(figure(0.03)) == REVERSED
    assert decide_no_advantage(figure(0.0, half=0.05)).startswith(OPEN)
    assert decide_no_advantage(figure(0.0, one_set=True)).startswith(OPEN)


def test_the_rules_are_tried_on_the_published_tables():
    found = {claim.number: by_data for claim, by_data in published_tables.judged(CLAIMS, ROOT / 'results')}
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7, 8, 11, 12]
    assert {len(by_data) for by_data in found.values()} == {8}
    outcomes = {number: {name: verdict.outcome for name, verdict in by_data.items()} for number, by_data in found.items()}
    for name in ('cub200', 'stanford_dogs', 'imagenet100', 'imagenet1k', 'food101'):
        assert outcomes[1][name] == outcomes[2][name] == HOLDS
    assert outcomes[4]['imagenet100'] == 'holds on 11 of 12' and outcomes[4]['cub200'] == UNKNOWN
    assert outcomes[5]['imagenet100'] == outcomes[6]['imagenet100'] == outcomes[7]['imagenet100'] == HOLDS
    assert (outcomes[11]['spawrious'], outcomes[11]['waterbirds']) == (HOLDS, REVERSED)
    assert found[1]['cub200'].effect.startswith('10.5 [') and found[8]['imagenet100'].effect.startswith('9.2 [')


def test_stress_tests_are_in_no_verdict(results):
    first = suites(results)[0]
    rows = first.evidence.rows(dataset='plumage', eval_backbone=MIM)
    prints = {'data': rows.dataset_fingerprint.iloc[0].partition('/')[0], 'weights': rows.eval_weights.iloc[0]}
    fails = gate.Pair(
        dataset='plumage', backbone=MIM, nearest_mean=10, best_linear=80, random=5, strength=0.1, participation_ratio=3,
        five_components=0.9, n_fit=4, n_held=4, **prints,
    )  # fmt: skip
    gate.write(results, [fails])
    suite = first.without_stress_tests()
    assert (suite.backbones, suite.stress) == ((CLIP, DINO, MOCO), (MIM,))
    assert 'mim' not in judge(claim_of(1), suite).numbers
    gate.write(results, [replace(fails, weights='others')])
    assert first.without_stress_tests().stress == (), 'a line about other weights says nothing'


def test_a_table_of_other_images_is_not_judged(results):
    verdict = verdict_of(13, results)
    assert verdict.outcome == HOLDS
    assert verdict.numbers.endswith('; from analysis/embedding_images.csv, made from the same sets')
    path = results / 'analysis' / 'embedding_images.csv'
    images = pd.read_csv(path)
    missing = f'missing: the images of lgm_fast on plumage x {DINO}, or analysis/embedding_images.csv made from them'
    stale = images.assign(set=images['set'].where(images.backbone != DINO, 'of an earlier run'))
    for table in (stale, images[images.backbone != DINO]):
        table.to_csv(path, index=False)
        assert verdict_of(13, results) == Verdict(UNKNOWN, '', missing)
    images.drop(columns='set').to_csv(path, index=False)
    assert verdict_of(13, results) == Verdict(UNKNOWN, '', missing.replace(DINO, CLIP))
    path.unlink()
    assert verdict_of(13, results) == Verdict(UNKNOWN, '', missing.replace(DINO, CLIP))


ABC = ('a', 'b', 'c')


def features_suite(folder):
    """Return a suite whose data, features and distilled images are made up."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(20, 1, 2, 3))
    data = dataset_of(images, np.arange(20) % 2, images, np.arange(20) % 2, ('ant', 'bee'))
    for s, t in itertools.product(ABC, ABC):
        made = DistilledSet(np.arange(2), np.tile(grey(0, 255), (1, 1, 2, 1))) if s == t else None
        put(folder, 'lgm', right(0.9 if s == t else 0.3 + 0.05 * rng.integers(10)), source=s, on=t, made=made)
    evidence = features_world(folder, data, {name: rng.normal(size=(6, 6)) for name in ABC})
    return Suite(evidence=evidence, name='made up', dataset='toy', backbones=ABC)


def test_a_claim_runs_the_analysis_that_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(suite_module, 'alignment', alignment.alignment)
    suite = features_suite(tmp_path)
    found = alignment.alignment(suite.evidence, dataset='toy', backbones=ABC).tables['Correlation']
    row = found[(found.measure == 'mutual_knn') & (found['with'] == 'transfer')].iloc[0]
    assert judge(claim_of(10), suite).numbers.startswith(f'Pearson {row.pearson:.2f} (p = {row.p_pearson:.3f}), Spearman ')
    assert judge(claim_of(10), replace(suite, backbones=ABC[:2])).numbers == 'missing: a third backbone'
    # a table that lies there is of no account where the images are
    (tmp_path / 'analysis').mkdir()
    (tmp_path / 'analysis' / 'embedding_images.csv').write_text('backbone,percentile,set\n')
    numbers = judge(claim_of(13), suite).numbers
    assert numbers.startswith('images farther from their class mean than 95 % of the real images: a ')
    assert 'analysis/' not in numbers


def test_data_that_is_not_here_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(suite_module, 'alignment', alignment.alignment)
    suite = features_suite(tmp_path)

    def absent(name):
        raise InputError('give --data_root')

    suite.evidence.load = replace(suite.evidence.load, dataset=absent)
    for number in (10, 13):
        assert judge(claim_of(number), suite) == Verdict(UNKNOWN, '', 'missing: the features of toy (give --data_root)')


def test_the_best_of_the_real_ones_may_be_a_strangers(results):
    before = {number: verdict_of(number, results) for number in (1, 11)}
    where = {'dataset': 'plumage_spurious', 'kind': 'real'}
    for on in BACKBONES:
        put(results, 'my_choice', right(0.5, count=COUNT), source=on, on=on, **where)
    assert verdict_of(11, results) == before[11], 'it is not the best'
    for on in BACKBONES:
        put(results, 'my_best', right(0.7, count=COUNT), source=on, on=on, **where)
    assert verdict_of(11, results).effect.startswith('-15.0 [')
    assert verdict_of(1, results) == before[1], 'which names its baselines'


def test_one_backbone_or_one_seed_decides_nothing_about_several(made_suite, results):
    alone = replace(made_suite, backbones=(MIM,))
    for number in (4, 5, 7, 8):
        assert judge(claim_of(number), alone) == Verdict(UNKNOWN, '', 'missing: a second backbone')
    assert judge(claim_of(6), alone).numbers == 'missing: a backbone of the DINO family and two others'
    assert judge(claim_of(1), alone).outcome == judge(claim_of(9), alone).outcome == HOLDS
    for b in BACKBONES:
        for path in cell_folder(results, own(LGM, b)):
            if load(path).cell.seed:
                path.unlink()
    assert verdict_of(14, results) == Verdict(UNKNOWN, '', 'missing: a second seed of lgm_fast')
    plain = replace(made_suite, coarse='', spurious='')
    assert judge(claim_of(11), plain).numbers == 'missing: a data set with a spurious background'
    assert judge(claim_of(12), plain).numbers == 'missing: a coarse labelling of the same images'


def test_a_difference_that_is_not_settled_does_not_count(results):
    """Two of 200 test images: ahead, but not by more than the draw of the images explains."""
    for at in (own('neighbors', MIM), own('neighbors', DINO), own('neighbors', CLIP), own('neighbors', MOCO)):
        for path in cell_folder(results, at):
            path.unlink()
        write_cell(results, at, [0.595])
    verdict = verdict_of(2, results)
    assert verdict.outcome == 'holds on 2 of 3'
    assert 'centroid 60.0 [' in verdict.numbers and 'neighbors 59.5 [' in verdict.numbers


def test_the_worst_group_is_told(made_suite):
    numbers = judge(claim_of(11), made_suite).numbers
    assert numbers.endswith('Its worst-group accuracy, %: clip 55.0, dino 55.0, mim 55.0, moco 55.0')
    assert numbers.startswith('lgm_fast minus the best real baseline: clip -5.0 [')


def test_the_published_method_is_judged_where_its_records_suffice(results):
    assert {verdict_of(number, results).of for number in (1, 3)} == {''}
    for on in BACKBONES:
        write_cell(results, own('lgm', on), [0.82, 0.83, 0.84])
        assert verdict_of(3, results).of == ('lgm' if on == BACKBONES[-1] else '')
    verdicts_now = [(claim, verdict_of(claim.number, results)) for claim in CLAIMS]
    # transfer, other data sets and variants have records of the preset alone
    judged_so = [claim.number for claim, verdict in verdicts_now if verdict.of == 'lgm']
    assert judged_so == [1, 2, 3, 14] and 'lgm 83.0' in dict(enumerate(v.numbers for _, v in verdicts_now))[1]
    page = verdicts.markdown([(suites(results)[0], verdicts_now)], [])
    assert 'LGM is `lgm_fast` here, a preset; on claims 1, 2, 3, 14 the published `lgm`.' in page


def test_two_records_for_one_cell_are_an_error_and_no_verdict(results):
    put(results, LGM, right(0.5, count=COUNT), source=MIM, on=MIM, dataset='plumage', settings={'rate': 2})
    with pytest.raises(InputError, match='two records of one cell and seed'):
        verdict_of(1, results)


def test_the_suites_gin_files_make_every_record_that_a_claim_reads():
    evidence = Planned(*suite_files())
    suite = replace(suite_of(ROOT / 'gin' / 'claims' / 'aviary.gin', evidence), evidence=evidence)
    for claim in CLAIMS:
        if claim.number == 13:
            with pytest.raises(EverythingIsThere):
                judge(claim, suite)
        else:
            verdict = judge(claim, suite)
            # where every accuracy is 1, nothing lies between random images and full data
            assert verdict.outcome != UNKNOWN or verdict.numbers.startswith('missing: a backbone with 30 points'), verdict


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_page_and_the_brief_table(made):
    first, *others = suites(made)
    judged = [
        (claim, Verdict(outcome, f'effect {claim.number}', f'numbers {claim.number}'))
        for claim, outcome in zip(CLAIMS, (HOLDS, HOLDS, UNKNOWN), strict=False)
    ]
    page = verdicts.markdown([(first, judged)], others)
    lines = page.splitlines()
    assert lines[0] == '# The claims of arXiv 2511.16674, checked'
    assert '## made up: plumage through four small encoders' in lines
    assert 'Of 3 claims, 2 hold, 1 lack records. LGM is `lgm_fast` here, a preset.' in lines
    second = CLAIMS[1]
    row = f'| 2 | {second.text} | **holds** | effect 2 | {second.published_for(first)} | numbers 2 | {second.rule} |'
    assert row in lines and lines[-1] == 'Made by `python -m bench.claims`.'
    assert '- CUB-200 through four large backbones: no records (`gin/suites/paper_table5.gin` makes them)' in lines
    assert '- grocery through four real encoders: no records (`gin/suites/grocery.gin` makes them)' in lines
    assert 'No verdicts' not in verdicts.markdown([(first, judged)], [])
    brief = verdicts.brief(first, judged).splitlines()
    said = 'LGM is `lgm_fast` here, a preset. Of 3 claims, 2 hold, 1 lack records.'
    assert brief[0] == f'Suite: {first.name}. {said}'
    assert brief[2:4] == ['|  | claim | verdict | effect |', '| ---: | --- | --- | --- |']
    assert brief[4:] == [f'| {c.number} | {c.text} | {v.outcome} | {v.effect} |' for c, v in judged]


def run_main(monkeypatch, **values):
    values = {'into': None, 'gin_file': [str(path) for path in FILES], 'gin_bindings': [], 'plugin': [], **values}
    monkeypatch.setattr(claims.flags, 'FLAGS', SimpleNamespace(**values))
    return claims.main()


def test_a_document_shows_the_verdicts_between_its_markers(results, monkeypatch):
    put(results, LGM, right(0.5), source='mobilenetv2_112px', on='mobilenetv2_112px', dataset='grocery')
    document = results / 'README.md'
    document.write_text('# Mine\n<!-- claims:start -->\nstale\n<!-- claims:end -->\nafter\n')
    assert run_main(monkeypatch, results_dir=str(results), into=str(document)) == 0
    shown = document.read_text()
    assert shown.startswith('# Mine\n<!-- claims:start -->\n\nSuite: made up')
    assert shown.endswith('<!-- claims:end -->\nafter\n')
    assert 'stale' not in shown and shown.count('| holds |') == 15
    page = (results / 'claims.md').read_text()
    assert page.count('\n## ') == 3 and 'Of 15 claims, 15 hold.' in page and 'Of 15 claims, 15 lack records.' in page
    monkeypatch.setattr(suite_module, 'judge', lambda claim, suite: Verdict(HOLDS, 'for speed'))
    run_main(monkeypatch, results_dir=str(results), into=str(document))
    shown = document.read_text()
    run_main(monkeypatch, results_dir=str(results), into=str(document))
    assert document.read_text() == shown and shown.count('for speed') == 15
    document.write_text('no markers')
    with pytest.raises(InputError, match='expected the lines <!-- claims:start --> and <!-- claims:end -->'):
        run_main(monkeypatch, results_dir=str(results), into=str(document))
    assert document.read_text() == 'no markers'


def test_nothing_to_judge_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match='none: expected an existing folder'):
        run_main(monkeypatch, results_dir=str(tmp_path / 'none'))
    put(tmp_path, LGM, right(0.5), source='other', on='other', dataset='plumage')  # on a backbone of no suite
    before = files_below(tmp_path)
    values = {'results_dir': str(tmp_path), 'into': None, 'gin_file': [], 'gin_bindings': [], 'plugin': []}
    monkeypatch.setattr(claims.flags, 'FLAGS', SimpleNamespace(**values))
    assert cli.guarded(claims.main, ['bench.claims'], name='bench.claims') == 2
    said = f'{tmp_path} has no records of lgm or lgm_fast for any suite; run make suite or python -m bench.run first'
    assert capsys.readouterr() == ('', f'bench.claims: {said}\n') and files_below(tmp_path) == before


def test_a_record_that_is_left_out_is_named(results, tmp_path):
    results = shutil.copytree(results, tmp_path / 'copy')
    spoilt = next((results / 'records').rglob('*.json'))
    spoilt.write_text(spoilt.read_text().replace('"status": "ok"', '"status": "fine"'))
    done = commands.run('bench.claims', f'--gin_file={MADE_UP}', f'--results_dir={results}')
    assert done.status == 0 and done.err.count('ignored: ') == 1 and str(spoilt) in done.err


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_the_command_judges_the_suite_of_a_file_and_uses_each_of_its_bindings(path, results):
    suite = suite_of(path, Evidence(results))
    assert suite.has_records() == (path == MADE_UP) and (ROOT / suite.made_by).is_file()
    first = suite.backbones[0]
    put(results, suite.method, right(0.5, count=COUNT), source=first, on=first, dataset=suite.dataset, seed=9)
    done = commands.run('bench.claims', f'--gin_file={path}', f'--results_dir={results}')
    assert (done.status, done.err) == (0, f'wrote {results / "claims.md"}\n')
    lines = done.out.splitlines()
    outcome = judge(CLAIMS[0], suite_of(path, Evidence(results))).outcome
    assert lines[0] == suite.name and lines[1] == f'   1  {outcome:18}  {CLAIMS[0].text}' and len(lines) == 16
    assert (results / 'claims.md').is_file()


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ("claims.dataset = ''", 'claims.dataset: expected the dataset of a suite, as in gin/claims/aviary.gin; got none'),
        ("claims.backbones = 'tiny_moco'", "claims.backbones: expected a list, got 'tiny_moco'"),
        ("claims.datasets = 'plumage'", "claims has no parameter 'datasets'"),
        ('lgm.num_updates = 3', 'nothing in this run uses the binding lgm.num_updates'),
    ],
)
def test_a_file_that_describes_no_suite_is_one_line(line, said, results):
    before = files_below(results)
    arguments = [f'--gin_file={MADE_UP}', f'--gin_bindings={line}']
    done = commands.run('bench.claims', *arguments, f'--results_dir={results}')
    assert done.status == 2 and said in done.err and done.err.count('\n') == 1 and files_below(results) == before
