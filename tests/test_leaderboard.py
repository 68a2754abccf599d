"""Golden records -> golden table, statistics worked by hand, and everything that must not bend the table.

After a wanted change of the format: `python -m tests.test_leaderboard` writes tests/golden anew; read the difference.
"""

import csv
import io
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench import leaderboard
from bench.core.errors import InputError
from bench.core.paths import ROOT
from bench.core.types import Dataset, ProbeScore, Split
from bench.results import gate, summary, tables
from bench.results.make import failed_record, make_record
from bench.results.record import DistilledFacts, Provenance, Seconds
from bench.results.statistics import Scores
from bench.results.store import dumps, load, write

GOLDEN = ROOT / 'tests' / 'golden'
CONTRACT = (
    'dataset,method,source_backbone,eval_backbone,ipc,protocol,top1_mean,top1_std,top1_ci_low,top1_ci_high,n_repeats,'
    'n_train_images,seconds_method,seconds_probe,peak_memory_mb,status'
)
ORIGIN = Provenance(
    version='1', commit='abc', dirty=False, versions={'python': '3'}, platform='Linux', command='python -m bench.run',
    created='2026-01-01T00:00:00+00:00',
)  # fmt: skip
N = 20  # test images, so that accuracies are multiples of 5%


def put(results_dir, method, top1=None, *, source='any', on='tiny_a', ipc=1, seed=0, protocol='release-v1', **changes):
    """Write one record with these accuracies, or a failed one; returns its path."""
    digest = changes.pop('protocol_hash', f'{protocol}-hash')
    dataset = changes.pop('dataset', 'toy')
    data_print = changes.pop('data_print', f'{dataset}-1')
    settings = changes.pop('settings', {})
    groups = changes.pop('groups', None)
    cell = {
        'dataset': dataset, 'method': method, 'source_backbone': source, 'eval_backbone': on, 'ipc': ipc, 'seed': seed,
        'protocol': protocol, 'method_name': method, 'method_settings': settings, 'protocol_hash': digest,
        'drawn': data_print,
    }  # fmt: skip
    if of := changes.pop('of', None):
        cell['of'] = {'label': of, 'name': of, 'settings': {}}
    distilled = '-'.join(map(str, [method, source, on, ipc, seed, digest, data_print, *settings.values()]))
    names = ('land', 'sea') if groups is not None else ()
    splits = (
        Split(name, (), np.arange(N) % 2, ('ant', 'bee'), f'{data_print}-{name}', groups, names)
        for name in ('train', 'test')
    )
    common = {
        'cell': cell, 'protocol_hash': digest, 'dataset': Dataset(dataset, *splits, 'MIT', 'made up'),
        'provenance': ORIGIN,
    }  # fmt: skip
    if top1 is None:
        record = failed_record(ValueError('loss is NaN\nat step 7'), **common)
        record = replace(record, error=replace(record.error, traceback=''))
    else:
        score = ProbeScore(np.arange(N) < np.round(np.array(top1)[:, None] * N), None, {}, {})
        defaults = {
            'probe_seeds': list(range(len(top1))), 'n_train_images': 2, 'source_weights': None,
            'eval_weights': f'{on}-w', 'distilled': {'hash': distilled, 'bytes': 10, 'kind': 'real', 'facts': {}},
            'peak_memory_mb': 100.0 + seed, 'seconds': Seconds(method=1.0 + seed, probe=0.5), 'device': 'cpu',
        }  # fmt: skip
        wanted = {**defaults, **changes}
        record = make_record(score, **common, **{**wanted, 'distilled': DistilledFacts(**wanted['distilled'])})
    return write(record, results_dir=results_dir)


def make_golden_records(results_dir):
    """Write one of everything a table can hold."""
    same = {'distilled': {'hash': 'picks', 'bytes': 10, 'kind': 'real', 'facts': {}}}
    made = {'distilled': {'hash': 'made', 'bytes': 10, 'kind': 'synthetic', 'facts': {}}}
    for seed, top1 in enumerate([(0.5, 0.6), (0.7, 0.8)]):
        put(results_dir, 'random', top1, seed=seed)
    put(results_dir, 'random', (0.5, 0.6, 0.7), on='tiny_b')
    put(results_dir, 'centroid', (0.8, 0.8), source='tiny_a', **same)
    put(results_dir, 'herding', (0.8, 0.8), source='tiny_a', **same)
    put(results_dir, 'lgm', (0.85, 0.9), source='tiny_a', **made)
    put(results_dir, 'lgm', None, source='tiny_a', seed=1)
    put(results_dir, 'lgm', (0.65, 0.75), source='tiny_a', on='tiny_b', **made)
    put(results_dir, 'lgm', None, source='tiny_b', on='tiny_b')
    put(results_dir, 'lgm', (0.95, 0.95), source='tiny_a', ipc=10, **made)
    soft = {'settings': {'soft_labels': True}, 'source': 'tiny_a'}
    put(results_dir, 'lgm', (0.95, 1.0), **soft, distilled={**made['distilled'], 'labels': 'soft'})
    put(results_dir, 'lgm', None, **soft, seed=1)
    put(results_dir, 'full', (1.0, 0.95), ipc=None, n_train_images=20)
    put(results_dir, 'random', (0.55,), protocol='ridge-v1')
    put(results_dir, 'random', (0.6, 0.7), dataset='water', groups=np.arange(N) // 10)
    known = {'dataset': 'toy', 'random': 20, 'data': 'toy-1-train', 'strength': 0.1, 'n_fit': 16, 'n_held': 4}
    gate.write(results_dir, [
        gate.Pair(backbone='tiny_a', nearest_mean=80, best_linear=90, participation_ratio=20, five_components=0.4,
                  weights='tiny_a-w', **known),
        gate.Pair(backbone='tiny_b', nearest_mean=30, best_linear=90, participation_ratio=3, five_components=0.9,
                  weights='tiny_b-w', **known),
    ])  # fmt: skip


def _rows(results_dir):
    return summary.read(results_dir).rows


def _command(results_dir, *flags):
    command = [sys.executable, '-m', 'bench.leaderboard', f'--results_dir={results_dir}', *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_golden_records_give_the_golden_table(tmp_path):
    shutil.copytree(GOLDEN / 'records', tmp_path / 'records')
    shutil.copy(GOLDEN / 'published.csv', tmp_path)
    shutil.copy(GOLDEN / gate.FILE, tmp_path)
    for _ in range(2):  # the second time over its own output
        done = _command(tmp_path)
        assert done.returncode == 0 and done.stderr == '', done.stderr
        for name in ('leaderboard.csv', 'leaderboard.md'):
            assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()
    assert 'lgm (from tiny_a)' in done.stdout and 'wrote' in done.stdout


def test_published_numbers_stand_beside_ours_and_never_win(tmp_path):
    shutil.copytree(GOLDEN / 'records', tmp_path / 'records')
    shutil.copy(GOLDEN / 'published.csv', tmp_path)
    board = summary.read(tmp_path)
    shown = {(row['method'], row['eval_backbone']): row for row in board.rows if row['published_mean'] is not None}
    assert {place: (row['published_mean'], row['published_std']) for place, row in shown.items()} == {
        ('lgm', 'tiny_a'): (99.5, 0.1), ('lgm', 'tiny_b'): (71.0, 0.4), ('random', 'tiny_a'): (66.0, None),
        ('full', 'tiny_a'): (98.0, 0.0),
    }  # fmt: skip
    # neither ten images per class, nor a protocol of our own, nor soft labels
    assert {(row['ipc'], row['protocol'], row['labels']) for row in shown.values()} == {
        (1, 'release-v1', 'hard'), (None, 'release-v1', 'hard'),
    }  # fmt: skip
    parts = tables.markdown(board).split('\n## ')[1:]
    assert '| 87.5 ± 15.0† [1] | 99.5 ± 0.1 |' in parts[0] and 'it is not ranked' in parts[0].lower()
    assert not any('ublished' in table for table in parts[1:])
    # without them, the tables are those of before; the columns of the CSV stay
    assert _command(tmp_path, '--nopublished').returncode == 0
    text = (tmp_path / 'leaderboard.md').read_text()
    assert 'ublished' not in text and '87.5 ± 15.0† [1] | failed [2] | 1 x 2 |' in text
    with open(tmp_path / 'leaderboard.csv') as file:
        assert {(row['published_mean'], row['published_std']) for row in csv.DictReader(file)} == {('', '')}


def test_other_rules_of_the_probe_have_no_published_number(tmp_path):
    shutil.copy(GOLDEN / 'published.csv', tmp_path)
    for protocol in ('release-v1', 'paper-v1', 'paper-v1-exact', 'release-v1+72e8c6'):
        put(tmp_path, 'random', (0.5, 0.6), protocol=protocol)
    found = {row['protocol']: row['published_mean'] for row in _rows(tmp_path)}
    assert found == {'release-v1': 66.0, 'paper-v1': None, 'paper-v1-exact': None, 'release-v1+72e8c6': None}


def test_golden_records_are_what_this_code_writes(tmp_path):
    make_golden_records(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob('*.json')}
    kept = {path.relative_to(GOLDEN): path.read_bytes() for path in GOLDEN.rglob('*.json')}
    assert made == kept


def test_csv_has_the_agreed_columns_first(tmp_path):
    put(tmp_path, 'full', (1.0, 0.95), ipc=None)
    text = tables.csv_text(_rows(tmp_path))
    assert text.startswith(CONTRACT + ',')
    row = next(csv.DictReader(io.StringIO(text)))
    assert (row['ipc'], row['top1_mean'], row['status']) == ('', '97.5000', 'ok')


def test_cost_counts_the_views_of_a_methods_updates(tmp_path):
    put(tmp_path, 'random', (0.5,), images_encoded=1000)
    put(tmp_path, 'lgm', (0.5,), source='tiny_a', images_encoded=1000, settings={'num_updates': 500, 'num_augmentations': 3})
    board = summary.read(tmp_path)
    assert {row['method']: row['images_encoded'] for row in board.rows} == {'random': 1000, 'lgm': 1000 + 500 * 3 * 2}
    assert '| lgm | 1 | 50.0 ± 24.0† | 1 x 1 | 4k images, 2 s |' in tables.markdown(board)


def test_tuning_budgets_are_listed_for_the_methods_of_the_board(tmp_path):
    put(tmp_path, 'lgm', (0.5,), source='tiny_a')
    board = replace(summary.read(tmp_path), tuned={'lgm': 'two settings', 'dm': 'three'})
    assert tables.markdown(board).endswith('\n\n- lgm: two settings\n')


def test_statistics_worked_by_hand(tmp_path):
    put(tmp_path, 'random', (0.5, 0.6), seed=0, images_encoded=30)
    put(tmp_path, 'random', (0.7, 0.8), seed=1, images_encoded=10)
    put(tmp_path, 'centroid', (0.5, 0.6, 0.7))
    put(tmp_path, 'herding', (0.5,))
    centroid, herding, random = _rows(tmp_path)
    # of N = 20 images, the first ones are right; `test_statistics` checks the estimator
    expected = Scores(np.array([[np.arange(N) < 10, np.arange(N) < 12], [np.arange(N) < 14, np.arange(N) < 16]])).accuracy()
    assert random['top1_mean'] == pytest.approx(65) and random['top1_std'] == pytest.approx((500 / 3) ** 0.5)
    assert random['top1_half'] == pytest.approx(100 * expected.half)
    assert (random['top1_ci_low'], random['top1_ci_high']) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert (random['error_units'], random['error_images']) == pytest.approx((10, 100 * expected.error_of_images))
    assert random['std_sets'] == pytest.approx(200**0.5) and random['std_probes'] == pytest.approx(50**0.5)
    assert [random[name] for name in ('n_repeats', 'n_sets', 'n_probes', 'one_set')] == [4, 2, 2, False]
    assert (random['seconds_method'], random['peak_memory_mb'], random['images_encoded']) == (1.5, 101.0, 20)
    # a method without seeds: its probes are the units
    assert centroid['top1_std'] == pytest.approx(10) and centroid['std_sets'] is None and not centroid['one_set']
    assert centroid['error_units'] == pytest.approx(10 / 3**0.5)
    # one repeat: the images are all that varies
    assert [herding[name] for name in ('top1_std', 'std_probes', 'error_units')] == [None, None, 0]
    assert herding['error_images'] == pytest.approx(100 * (0.25 / (N - 1)) ** 0.5)


def test_failed_and_partial_rows(tmp_path):
    put(tmp_path, 'lgm', (0.5, 0.7))
    put(tmp_path, 'lgm', None, seed=1)
    put(tmp_path, 'dm', None)
    put(tmp_path, 'random', (0.5,))
    dm, lgm, random = _rows(tmp_path)
    assert (dm['status'], dm['top1_mean'], lgm['status'], lgm['n_failed']) == ('failed', None, 'partial', 1)
    assert lgm['top1_mean'] == pytest.approx(60)
    text = tables.markdown(summary.read(tmp_path))
    assert '| dm | 1 | failed [1] |' in text and '1 of 1 seed failed: ValueError: loss is NaN at step 7' in text
    assert '| lgm | 1 | 60.0 ± ' in text and '† [2] | 1 x 2 |' in text and '1 of 2 seeds failed' in text


def test_protocol_hashes_and_settings_never_share_a_row(tmp_path):
    put(tmp_path, 'random', (0.5,), protocol_hash='one')
    put(tmp_path, 'random', (0.7,), protocol_hash='two')
    put(tmp_path, 'lgm', (0.6,), settings={'lr': 1, 'sigma': 2})
    put(tmp_path, 'lgm', (0.8,), settings={'lr': 9, 'sigma': 2})
    board = summary.read(tmp_path)
    assert len(board.rows) == 4
    assert sorted(row['settings'] for row in board.rows if row['method'] == 'lgm') == ['lr=1', 'lr=9']
    assert tables.markdown(board).count('\n## ') == 4  # and the warnings
    assert [line for line in board.warnings if 'different settings' in line and 'lr=1 | lr=9' in line]


def test_records_of_other_images_or_weights_are_named(tmp_path):
    paths = [put(tmp_path, 'random', (0.5,)), put(tmp_path, 'random', (0.6,), seed=1, data_print='toy-2')]
    put(tmp_path, 'lgm', (0.6,), eval_weights='others')
    first, second = (said for said in summary.read(tmp_path).warnings if 'settings' not in said)
    assert 'dataset fingerprint' in first and all(path.stem in first for path in paths)
    assert 'eval weights of tiny_a' in second and 'others' in second


def test_records_of_files_that_hold_other_things_are_named(tmp_path):
    """Names and sizes may be alike; earlier records tell no contents and are like any."""
    for seed, held in ((0, 'a'), (1, 'b'), (2, None)):
        path = put(tmp_path, 'random', (0.5,), seed=seed)
        record = load(path)
        prints = replace(record.fingerprints, contents=held and {'train': held, 'test': held})
        path.write_text(dumps(replace(record, fingerprints=prints)))
    (warning,) = summary.read(tmp_path).warnings
    assert 'dataset contents of toy' in warning and 'a/a: random' in warning and '-2-' not in warning


def test_identical_picks_are_told(tmp_path):
    same = {'hash': 'picks', 'bytes': 1, 'kind': 'real', 'facts': {}}
    for method in ('centroid', 'herding'):
        put(tmp_path, method, (0.5,), distilled=same)
    put(tmp_path, 'random', (0.5,), distilled=same, ipc=2)
    put(tmp_path, 'lgm', (0.5,), distilled={**same, 'kind': 'synthetic'})
    (warning,) = summary.read(tmp_path).warnings
    assert warning.startswith('toy, ipc 1: centroid and herding picked identical images')


def put_far_apart(tmp_path, *, on='tiny_a', dataset='toy'):
    """Write methods whose ranks are clear, two that tie, one with a single set, and full data."""
    for seed in range(3):
        put(tmp_path, 'lgm', (0.95, 0.95), source=on, on=on, seed=seed, dataset=dataset)
        put(tmp_path, 'dm', (0.4, 0.4), source=on, on=on, seed=seed, dataset=dataset)
        put(tmp_path, 'sfm', (0.4, 0.4), source=on, on=on, seed=seed, dataset=dataset)
        put(tmp_path, 'random', (0.05, 0.05), on=on, seed=seed, dataset=dataset)
    put(tmp_path, 'clp', (0.9, 0.9), source=on, on=on, dataset=dataset)
    put(tmp_path, 'full', (1.0, 1.0), on=on, ipc=None, dataset=dataset)


def test_ranks_are_intervals_and_ties_look_alike(tmp_path):
    put_far_apart(tmp_path)
    put(tmp_path, 'lgm', (1.0, 1.0), source='tiny_b', on='tiny_a')  # transfer is not ranked
    board = summary.read(tmp_path)
    ranks = {(row['method'], row['source_backbone']): (row['rank_low'], row['rank_high']) for row in board.rows}
    assert ranks == {
        ('lgm', 'tiny_a'): (1, 1), ('dm', 'tiny_a'): (2, 3), ('sfm', 'tiny_a'): (2, 3), ('random', 'any'): (4, 4),
        ('clp', 'tiny_a'): (None, None), ('full', 'any'): (None, None), ('lgm', 'tiny_b'): (None, None),
    }  # fmt: skip
    shown = tables.markdown(board)
    lines = ('| lgm | 1 | 95.0 ± 10.5 (1) | 3 x 2 |', '| dm | 1 | 40.0 ± 23.5 (2–3) |', '| clp | 1 | 90.0 ± 14.4† | 1 x 2 |')
    assert all(line in shown for line in lines)
    assert '(2–3)' in tables.text(board) and '**' not in shown
    # a method alone has no rank
    put(tmp_path, 'random', (0.05, 0.05), dataset='water')
    assert [row['rank_low'] for row in _rows(tmp_path) if row['dataset'] == 'water'] == [None]


def test_the_recovered_gap_and_the_standing_over_columns(tmp_path):
    for on in ('tiny_a', 'tiny_b'):
        put_far_apart(tmp_path, on=on)
    board = summary.read(tmp_path)
    gaps = {row['method']: row['recovered'] for row in board.rows if row['eval_backbone'] == 'tiny_a'}
    assert gaps == {
        'lgm': pytest.approx(100 * 0.9 / 0.95), 'dm': pytest.approx(100 * 0.35 / 0.95), 'random': pytest.approx(0),
        'sfm': pytest.approx(100 * 0.35 / 0.95), 'clp': pytest.approx(100 * 0.85 / 0.95), 'full': None,
    }  # fmt: skip
    (standings,) = board.standings.values()
    found = [(s.method, s.columns, s.wins, s.losses, s.rank, s.gaps) for s in standings]
    assert found == [('lgm', 2, 6, 0, 1, 2), ('dm', 2, 2, 2, 2.5, 2), ('sfm', 2, 2, 2, 2.5, 2), ('random', 2, 0, 6, 4, 2)]
    assert standings[0].recovered.mean == pytest.approx(0.9 / 0.95)
    assert '| lgm | 1 | 1.0 | 6–0 | 94.7 [' in tables.markdown(board)
    # below 30 points between random and full there is no gap, and a single column has no standings
    put(tmp_path, 'random', (0.75, 0.75), dataset='water')
    put(tmp_path, 'full', (1.0, 1.0), ipc=None, dataset='water')
    water = [row for row in _rows(tmp_path) if row['dataset'] == 'water']
    assert [row['recovered'] for row in water] == [None, None]


@pytest.mark.parametrize('tasks', [12, 13])
def test_friedmans_test_needs_thirteen_tasks(tmp_path, tasks):
    for number in range(tasks):
        put_far_apart(tmp_path, dataset=f'toy{number}')
    shown = tables.markdown(summary.read(tmp_path))
    assert ('## Over all data sets' in shown) == (tasks == 13)
    if tasks == 13:
        line = next(line for line in shown.splitlines() if 'Friedman p' in line)
        ranks_TM = np.tile([1.0, 2.5, 2.5, 4.0], (tasks, 1))
        assert 'mean ranks lgm 1.0, dm 2.5, sfm 2.5, random 4.0' in line and '13 tasks' in line
        assert f'Friedman p = {stats.friedmanchisquare(*ranks_TM.T).pvalue:.2g}' in line
        assert 'lgm ahead of random' in line and 'dm ahead of sfm' not in line


def test_the_worst_group_is_that_of_the_mean_over_seeds(tmp_path):
    groups = np.arange(N) // 10  # the first images are right: land first
    put(tmp_path, 'random', (0.3,), groups=groups, seed=0)
    put(tmp_path, 'random', (0.7,), groups=groups[::-1].copy(), seed=1)
    (row,) = _rows(tmp_path)
    # land 60 and 40 %, sea 0 and 100 %: means 50 and 50, where the mean of the lowest would be 20
    assert row['worst_group'] == pytest.approx(50)


def test_transfer_rows_are_left_out_of_a_document(tmp_path):
    put(tmp_path, 'random', (0.4, 0.5))
    put(tmp_path, 'lgm', (0.7, 0.7), source='tiny_a', on='tiny_b')
    put(tmp_path, 'lgm', (0.7, 0.7), source='tiny_a', on='tiny_b', dataset='water')
    board = summary.read(tmp_path)
    whole, brief = tables.markdown(board), tables.markdown(board, transfer=False)
    assert '| lgm (from tiny_a) | 1 |' in whole and 'not shown here' not in whole
    assert 'from tiny' not in brief and 'not shown here' in brief
    assert whole.count('## water') == 1 and brief.count('## water') == 0


def put_soft(results_dir, method, top1, *, distilled=None, settings=None, **changes):
    distilled = {'hash': method, 'bytes': 10, 'kind': 'real', 'labels': 'soft', 'facts': {}, **(distilled or {})}
    settings = {'soft_labels': True, **(settings or {})}
    return put(results_dir, method, top1, distilled=distilled, settings=settings, **changes)


def test_soft_labels_change_nothing_about_the_tables_of_hard_ones(tmp_path):
    put(tmp_path, 'lgm', (0.9, 0.9), source='tiny_a')
    put(tmp_path, 'random', (0.6, 0.8))
    put(tmp_path, 'random', (0.6, 0.8), dataset='water')
    put(tmp_path, 'centroid', (0.6, 0.6), dataset='water', source='tiny_a')
    before = summary.read(tmp_path)
    put_soft(tmp_path, 'lgm', (1.0, 1.0), source='tiny_a', eval_weights='others')
    put_soft(tmp_path, 'random', (0.95, 0.9), seed=1)
    put(tmp_path, 'random', None, settings={'soft_labels': True}, seed=2)
    after = summary.read(tmp_path)
    for form in (lambda board: tables.csv_text(board.rows), tables.markdown):
        assert form(after).startswith(form(before).partition('\n## Warnings')[0]) and form(after) != form(before)
    assert [(row['labels'], row['dataset'], row['method'], row['n_failed']) for row in after.rows[4:]] == [
        ('soft', 'toy', 'lgm', 0), ('soft', 'toy', 'random', 1),
    ]  # fmt: skip
    # the weights differ between the kinds of labels too, and within the soft ones alone they are named
    assert before.warnings == []
    assert len(after.warnings) == 1 and after.warnings[0].startswith('toy, release-v1, soft labels: records differ in eval')
    parts = tables.markdown(after).split('\n## ')[1:]
    assert [part.count('| lgm |') for part in parts] == [1, 0, 1, 0]
    title, remark = parts[2].split('\n\n')[:2]
    assert title == 'toy, probe release-v1 (release-) · soft labels' and '100.0 ± 0.0' in parts[2]
    assert 'not comparable with any table of hard labels' in remark
    assert tables.text(after).count('not comparable with any table of hard labels') == 1


def test_warnings_stay_within_a_kind_of_labels(tmp_path):
    same = {'hash': 'picks', 'bytes': 1, 'kind': 'real', 'facts': {}}
    put(tmp_path, 'centroid', (0.5,), distilled=same)
    put_soft(tmp_path, 'herding', (0.6,), distilled=same)
    put_soft(tmp_path, 'centroid', (0.6,), distilled={'hash': 'others'})
    assert summary.read(tmp_path).warnings == []
    put_soft(tmp_path, 'lgm', (0.5,), distilled=same)
    put_soft(tmp_path, 'centroid', (0.6,), seed=1, distilled={'hash': 'others'}, settings={'temperature': 2})
    picks, settings = summary.read(tmp_path).warnings
    assert picks.startswith('toy, ipc 1, soft labels: herding and lgm picked identical images')
    assert settings.startswith('toy, release-v1, soft labels: centroid, ipc 1') and 'temperature=2' in settings


def test_damaged_files_are_named_and_the_rest_is_shown(tmp_path):
    path = put(tmp_path, 'random', (0.5,))
    (path.parent / 'bad.json').write_text('{')
    (tmp_path / 'records' / 'package.json').write_text('{"name": "x"}')
    done = _command(tmp_path)
    assert done.returncode == 0 and 'Traceback' not in done.stderr
    assert len(done.stderr.splitlines()) == 3 and '2 files ignored' in done.stderr.splitlines()[-1]
    assert 'bad.json' in done.stderr and 'package.json' in done.stderr
    assert (path.parent / 'bad.json').read_text() == '{'


def test_nothing_to_show_is_one_line_and_writes_nothing(tmp_path):
    for folder in (tmp_path / 'missing', tmp_path):
        with pytest.raises(InputError, match='found none'):
            leaderboard.run(folder)
    assert list(tmp_path.iterdir()) == []
    done = _command(tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_the_leaderboard_imports_neither_torch_nor_gin():
    code = "import bench.leaderboard, pandas, sys; assert not {'torch', 'gin'} & set(sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == 0


if __name__ == '__main__':
    shutil.rmtree(GOLDEN / 'records', ignore_errors=True)
    make_golden_records(GOLDEN)
    assert _command(GOLDEN).returncode == 0


def test_a_document_shows_the_tables_between_its_markers(tmp_path):
    board = summary.read(GOLDEN)
    document = tmp_path / 'README.md'
    lines = ('# Mine', '<!-- leaderboard:start -->', 'stale tables', '<!-- leaderboard:end -->', 'after', '')
    document.write_text('\n'.join(lines), encoding='utf-8')
    for _ in range(2):  # a second time changes nothing
        tables.update(document, board)
    shown = document.read_text(encoding='utf-8')
    assert shown.startswith('# Mine\n<!-- leaderboard:start -->') and shown.endswith('<!-- leaderboard:end -->\nafter\n')
    assert 'stale tables' not in shown and shown.count('### toy, probe') >= 1 and shown.count('leaderboard:end') == 1
    document.write_text('no markers', encoding='utf-8')
    with pytest.raises(InputError, match='expected the lines'):
        tables.update(document, board)
    assert document.read_text(encoding='utf-8') == 'no markers'
