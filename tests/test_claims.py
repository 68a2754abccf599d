"""Every claim on made-up records: where it holds, where it does not, and where a record is missing."""

import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, files_below
from test_analysis import Planned, put, right, suite_files, toy_data

from bench import claims
from bench.analysis.claims import CLAIMS, FAILS, HOLDS, UNKNOWN, Verdict, judge
from bench.core import cli
from bench.core.errors import InputError
from bench.results import published

CLIP, DINO, MIM, MOCO = BACKBONES = ('tiny_clip', 'tiny_dino', 'tiny_mim', 'tiny_moco')
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
            cells[own(method, on, dataset='plumage_families')] = [share + 0.25]
            cells[own(method, on, dataset='plumage_spurious')] = [share]
            if method != 'herding':
                cells[own(method, on, protocol='ridge-v1')] = [share]
        cells[own('full', on)] = [0.85]
        cells[own('lgm', on, dataset='plumage_families')] = [0.9]
        cells[own('lgm', on, dataset='plumage_spurious')] = [0.55]
        cells[own('lgm', on, protocol='ridge-v1')] = [0.7]
        for source in BACKBONES:
            moved = 0.7 if source == DINO else 0.58
            cells[At('lgm', source, on)] = [0.795, 0.8, 0.805] if source == on else [moved]
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
    for seed, share in enumerate(shares):
        put(
            folder, at.method, right(share, count=COUNT), source=at.source, on=at.on, ipc=ipc, seed=seed,
            dataset=at.dataset, protocol=at.protocol, data=data,
        )  # fmt: skip


def cell_folder(folder, at):
    return [
        path for path in (folder / 'records' / at.dataset / at.on / at.method).glob('*.json')
        if path.name.startswith(f'{at.method}-{at.source}-') and f'-{at.protocol}-' in path.name
    ]  # fmt: skip


def write_analyses(folder, *, spearman=0.9, p=0.02, percentiles=(100,) * 8):
    folder.mkdir(exist_ok=True)
    row = {'pearson': 0.8, 'p_pearson': p, 'spearman': spearman, 'p_spearman': p, 'pairs': 12}
    others = {'pearson': -0.8, 'p_pearson': 1, 'spearman': -0.8, 'p_spearman': 1, 'pairs': 12}
    table = [
        {'measure': measure, 'with': target, **(row if (measure, target) == ('mutual_knn', 'transfer') else others)}
        for measure in ('cka', 'mutual_knn') for target in ('percent_of_own', 'transfer')
    ]  # fmt: skip
    pd.DataFrame(table).to_csv(folder / 'alignment.csv', index=False)
    images = [{'backbone': b, 'percentile': p} for b in BACKBONES for p in (percentiles if b == MOCO else [100] * 8)]
    pd.DataFrame(images).to_csv(folder / 'embedding_images.csv', index=False)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('made')
    for at, shares in world().items():
        write_cell(folder, at, shares)
    write_analyses(folder / 'analysis')
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
    return judge(claim_of(number), claims.suites(folder)[0])


def claim_of(number):
    return next(claim for claim in CLAIMS if claim.number == number)


# What is different where a claim does not hold, and what the verdict then says.
BREAKS = {
    1: ({own('herding', MIM): [0.8]}, 'Not above: herding on mim (0.0 ['),
    2: ({own('neighbors', b): [0.62] for b in BACKBONES}, 'neighbors 62.0 ['),
    3: ({own('full', b): [1.0] for b in BACKBONES}, 'share of full accuracy, %: mean 80.0 ['),
    4: ({At('lgm', CLIP, MOCO): [0.35]}, '11 of 12 pairs above random, mean '),
    5: ({At('lgm', CLIP, MOCO): [0.85]}, 'moco -5.0 ['),
    6: ({At('lgm', MIM, b): [0.75] for b in BACKBONES if b != MIM}, 'mim 75.0 ['),
    7: ({At('no_decorrelation', b, b): [0.8] for b in BACKBONES}, 'no_decorrelation 80.0 ['),
    8: ({At('no_pyramid', s, b): [0.55] for s in BACKBONES for b in BACKBONES if s != b}, 'other models 6.0 ['),
    9: ({At('ten_views', b, b): [0.65] for b in BACKBONES}, 'ten_views 65.0 ['),
    11: ({own('lgm', b, dataset='plumage_spurious'): [0.7] for b in BACKBONES}, 'mean 10.0 ['),
    12: ({own('lgm', b, dataset='plumage_families'): [1.0] for b in BACKBONES}, 'fine 20.0 ['),
    14: ({own('lgm', b): [0.7, 0.8, 0.9] for b in BACKBONES}, 'lgm 10.00 (8 degrees), random 5.00 (8 degrees)'),
    15: ({own('centroid', b, protocol='ridge-v1'): [0.8] for b in BACKBONES}, 'Turned round: lgm over centroid'),
}
CHANGED_ANALYSES = {
    10: [{'p': 0.06}, {'spearman': -0.9}],
    13: [{'percentiles': (95,) * 8}, {'percentiles': (100, 95) * 4}],  # on one backbone none beyond, or only half of them
}
# A record that is not there, and how it is named.
GONE = {
    1: (own('herding', MOCO), 'herding on plumage x tiny_moco'),
    2: (own('neighbors', DINO), 'neighbors on plumage x tiny_dino'),
    3: (own('full', CLIP), 'full on plumage x tiny_clip'),
    4: (At('lgm', MIM, MOCO), 'lgm from tiny_mim on plumage x tiny_moco'),
    5: (At('lgm', DINO, MIM), 'lgm from tiny_dino on plumage x tiny_mim'),
    6: (At('lgm', DINO, CLIP), 'lgm from tiny_dino on plumage x tiny_clip'),
    7: (At('no_augmentation', DINO, CLIP), 'no_augmentation from tiny_dino on plumage x tiny_clip'),
    8: (At('no_pyramid', MIM, MIM), 'no_pyramid on plumage x tiny_mim'),
    9: (At('three_views', MIM, MIM), 'three_views on plumage x tiny_mim'),
    11: (own('k_center', MIM, dataset='plumage_spurious'), 'k_center on plumage_spurious x tiny_mim'),
    12: (own('random', MIM, dataset='plumage_families'), 'random on plumage_families x tiny_mim'),
    14: (own('random', MOCO), 'random on plumage x tiny_moco'),
    15: (own('k_center', CLIP, protocol='ridge-v1'), 'k_center on plumage x tiny_clip, ridge-v1'),
}


# --- the verdicts -----------------------------------------------------------------------------------------------------


def test_every_claim_has_a_number_and_a_test_of_its_own():
    assert [claim.number for claim in CLAIMS] == list(range(1, 16))
    for part in ('text', 'test', 'decide'):
        assert len({getattr(claim, part) for claim in CLAIMS}) == 15
    for claim, suite in itertools.product(CLAIMS, claims.suites(ROOT / 'nowhere')):
        cited = claim.published_for(suite)
        assert cited and '|' not in claim.text + claim.test + cited
    assert BREAKS.keys() | CHANGED_ANALYSES.keys() == GONE.keys() | CHANGED_ANALYSES.keys() == set(range(1, 16))


def test_the_spurious_set_of_a_suite_is_the_one_that_is_cited():
    figures = published.load(ROOT / 'results')
    cited = {suite.spurious: claim_of(11).published_for(suite) for suite in claims.suites(ROOT / 'nowhere')}
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
    for suite in claims.suites(ROOT / 'nowhere'):
        cited = claim_of(10).published_for(suite)
        assert cited.startswith('another experiment: sets distilled on ImageNet-1k, and 1-nearest-neighbour accuracy')
        assert 'no coefficient; computed from them' in cited and 'Pearson 0.83, Spearman 0.85' in cited


@pytest.mark.parametrize('claim', CLAIMS, ids=lambda claim: str(claim.number))
def test_a_claim_holds_where_it_is_true(claim, made_suite):
    verdict = judge(claim, made_suite)
    assert verdict.outcome == HOLDS, verdict.numbers


@pytest.fixture(scope='module')
def made_suite(made):
    return claims.suites(made)[0]


@pytest.mark.parametrize('number', BREAKS)
def test_a_claim_does_not_hold_where_it_is_not(number, results):
    changes, said = BREAKS[number]
    for at, shares in changes.items():
        for path in cell_folder(results, at):
            path.unlink()
        write_cell(results, at, shares)
    verdict = verdict_of(number, results)
    assert verdict.outcome == FAILS and said in verdict.numbers, verdict


@pytest.mark.parametrize('number', GONE)
def test_a_claim_is_not_decided_where_a_record_is_missing(number, results):
    at, named = GONE[number]
    paths = cell_folder(results, at)
    assert paths
    for path in paths:
        path.unlink()
    assert verdict_of(number, results) == Verdict(UNKNOWN, f'missing: {named}')


@pytest.mark.parametrize(('number', 'change'), [(n, change) for n in CHANGED_ANALYSES for change in CHANGED_ANALYSES[n]])
def test_a_claim_does_not_hold_where_the_analysis_says_otherwise(number, change, results):
    write_analyses(results / 'analysis', **change)
    assert verdict_of(number, results).outcome == FAILS


def test_a_claim_is_not_decided_where_an_analysis_is_missing(results):
    for number, name in ((10, 'alignment'), (13, 'embedding_images')):
        path = results / 'analysis' / f'{name}.csv'
        path.unlink()
        assert verdict_of(number, results) == Verdict(UNKNOWN, f'missing: the analysis {path}')
        without = replace(claims.suites(results)[0], analyses={})
        assert judge(claim_of(number), without) == Verdict(UNKNOWN, f'missing: the analysis {name}')
    write_analyses(results / 'analysis')
    images = pd.read_csv(results / 'analysis' / 'embedding_images.csv')
    images[images.backbone != DINO].to_csv(results / 'analysis' / 'embedding_images.csv', index=False)
    assert verdict_of(13, results) == Verdict(UNKNOWN, 'missing: tiny_dino in the analysis embedding')


def test_one_backbone_or_one_seed_decides_nothing_about_several(made_suite, results):
    alone = replace(made_suite, backbones=(MIM,))
    for number in (4, 5, 6, 7, 8):
        assert judge(claim_of(number), alone) == Verdict(UNKNOWN, 'missing: a second backbone')
    assert judge(claim_of(1), alone).outcome == judge(claim_of(9), alone).outcome == HOLDS
    for b in BACKBONES:
        for path in cell_folder(results, own('lgm', b)):
            if '-1-1-paper' in path.name or '-1-2-paper' in path.name:  # ipc 1, seeds 1 and 2
                path.unlink()
    assert verdict_of(14, results) == Verdict(UNKNOWN, 'missing: a second seed of lgm')
    plain = replace(made_suite, coarse='', spurious='')
    assert judge(claim_of(11), plain).numbers == 'missing: a data set with a spurious background'
    assert judge(claim_of(12), plain).numbers == 'missing: a coarse labelling of the same pictures'


def test_a_difference_that_is_not_settled_does_not_count(results):
    """Two of 200 test images: ahead, but not by more than the draw of the images explains."""
    for at in (own('neighbors', MIM), own('neighbors', DINO), own('neighbors', CLIP), own('neighbors', MOCO)):
        for path in cell_folder(results, at):
            path.unlink()
        write_cell(results, at, [0.595])
    verdict = verdict_of(2, results)
    assert verdict.outcome == FAILS and 'centroid 60.0 [' in verdict.numbers and 'neighbors 59.5 [' in verdict.numbers


def test_the_worst_group_is_told(made_suite):
    numbers = judge(claim_of(11), made_suite).numbers
    assert numbers.endswith('LGM in its worst group, %: clip 55.0, dino 55.0, mim 55.0, moco 55.0')
    assert numbers.startswith('LGM minus the best real baseline: mean -5.0 [')


def test_two_records_for_one_cell_are_an_error_and_no_verdict(results):
    put(results, 'lgm', right(0.5, count=COUNT), source=MIM, on=MIM, dataset='plumage', settings={'rate': 2})
    with pytest.raises(InputError, match='two records answer one question'):
        verdict_of(1, results)


def test_the_suites_gin_files_make_every_record_that_a_claim_reads():
    evidence = Planned(*suite_files())
    suite = replace(claims.suites(ROOT / 'nowhere')[0], evidence=evidence)
    verdicts = {claim.number: judge(claim, suite) for claim in CLAIMS}
    unknown = {number: verdict.numbers for number, verdict in verdicts.items() if verdict.outcome == UNKNOWN}
    assert unknown.keys() == {10, 13} and all('missing: the analysis' in numbers for numbers in unknown.values())


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_page_and_the_brief_table(made):
    suites = claims.suites(made)
    verdicts = [
        (claim, Verdict(HOLDS if claim.number < 3 else UNKNOWN, f'numbers {claim.number}')) for claim in CLAIMS[:3]
    ]
    page = claims.markdown([(suites[0], verdicts)], suites[1:])
    lines = page.splitlines()
    assert lines[0] == '# The claims of arXiv 2511.16674, checked'
    assert '## embedded: plumage through four small encoders' in lines and '2 of 3 claims hold.' in lines
    row = f'| 2 | {CLAIMS[1].text} | **holds** | numbers 2 | {CLAIMS[1].test} | {CLAIMS[1].published_for(suites[0])} |'
    assert row in lines and lines[-1] == 'Made by `python -m bench.claims`.'
    assert (
        'No records: grocery through MobileNetV2; CUB-200 through four large backbones; '
        'ImageNet-100 through four large backbones.'
    ) in lines
    assert 'No records' not in claims.markdown([(suites[0], verdicts)], [])
    brief = claims.brief(suites[0], verdicts).splitlines()
    assert brief[0] == f'Suite: {suites[0].name}.' and brief[2:4] == ['| | claim | verdict |', '| ---: | --- | --- |']
    assert brief[4:] == [f'| {c.number} | {c.text} | {v.outcome} |' for c, v in verdicts]


def run_main(monkeypatch, **values):
    monkeypatch.setattr(claims.flags, 'FLAGS', SimpleNamespace(**{'into': None, **values}))
    return claims.main()


def test_a_document_shows_the_verdicts_between_its_markers(results, monkeypatch):
    put(results, 'lgm', right(0.5), source='mobilenetv2_100', on='mobilenetv2_100', dataset='grocery')
    document = results / 'README.md'
    document.write_text('# Mine\n<!-- claims:start -->\nstale\n<!-- claims:end -->\nafter\n')
    assert run_main(monkeypatch, results_dir=str(results), into=str(document)) == 0
    shown = document.read_text()
    assert shown.startswith('# Mine\n<!-- claims:start -->\n\nSuite: embedded')
    assert shown.endswith('<!-- claims:end -->\nafter\n')
    assert 'stale' not in shown and shown.count('| holds |') == 15
    page = (results / 'claims.md').read_text()
    assert page.count('\n## ') == 2 and '15 of 15 claims hold.' in page and '0 of 15 claims hold.' in page
    monkeypatch.setattr(claims, 'judge', lambda claim, suite: Verdict(HOLDS, 'for speed'))
    for _ in range(2):  # a second time changes nothing
        run_main(monkeypatch, results_dir=str(results), into=str(document))
        assert document.read_text() == shown
    document.write_text('no markers')
    with pytest.raises(InputError, match='expected the lines <!-- claims:start --> and <!-- claims:end -->'):
        run_main(monkeypatch, results_dir=str(results), into=str(document))
    assert document.read_text() == 'no markers'


def test_nothing_to_judge_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match='none: expected an existing folder'):
        run_main(monkeypatch, results_dir=str(tmp_path / 'none'))
    put(tmp_path, 'lgm', right(0.5), source='other', on='other', dataset='plumage')  # on a backbone of no suite
    before = files_below(tmp_path)
    monkeypatch.setattr(claims.flags, 'FLAGS', SimpleNamespace(results_dir=str(tmp_path), into=None))
    assert cli.guarded(claims.main, ['bench.claims'], name='bench.claims') == 2
    said = f'{tmp_path} has no records of lgm on any suite; make suite, or python -m bench.run, makes them'
    assert capsys.readouterr() == ('', f'bench.claims: {said}\n') and files_below(tmp_path) == before


def test_the_command_needs_neither_torch_nor_gin(results):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('bench.claims', run_name='__main__', alter_sys=True)\n"
        "finally: print({'torch', 'gin'} & set(sys.modules))"
    )
    command = [sys.executable, '-c', code, f'--results_dir={results}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == f'wrote {results / "claims.md"}\n', done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == 'embedded: plumage through four small encoders' and lines[-1] == 'set()' and len(lines) == 17
    assert lines[1] == f'   1  {HOLDS:18}  {CLAIMS[0].text}'
    assert (results / 'claims.md').is_file()
