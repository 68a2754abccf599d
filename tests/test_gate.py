"""The gate: known answers on drawn features, its table, its column of the leaderboard, and the command."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY
from test_leaderboard import put

from bench.analysis import gate as measuring
from bench.config import registry
from bench.core.errors import InputError
from bench.core.types import Places, Split
from bench.probes.chosen_ridge import STRENGTHS
from bench.results import gate, summary, tables
from bench.results.gate import NOT_GATED, PASSES, STRESS_TEST, Pair
from tests import commands

C, D, PER_CLASS = 8, 12, 40
CPU = torch.device('cpu')


def train_of(labels):
    return Split('train', range(len(labels)), labels, tuple('abcdefgh'), 'train-print')


def world(*, loud=1.0, scale=1.0):
    """Classes differ in C features by three times their noise; a further feature is noise of standard deviation `loud`."""
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat(np.arange(C), PER_CLASS))
    f_ND = generator.normal(size=(len(labels), D)) / 3
    f_ND[:, :C] += np.eye(C)[labels] * scale
    f_ND[:, -1] *= 3 * loud
    return (f_ND + 5).astype(np.float32), train_of(labels)


def measured(f_ND, train):
    return measuring.measure(f_ND, train, dataset='drawn', backbone='net', weights='w-print')


def a_pair(**changes):
    fields = {
        'dataset': 'toy', 'backbone': 'tiny_a', 'nearest_mean': 80, 'best_linear': 90, 'random': 40, 'strength': 0.01,
        'participation_ratio': 20, 'five_components': 0.3, 'n_fit': 32, 'n_held': 8, 'data': 'toy-1-train',
        'weights': 'tiny_a-w',
    }  # fmt: skip
    return Pair(**{**fields, **changes})


# --- what is measured ---------------------------------------------------------------------------------------------------


def test_classes_that_their_means_separate_pass():
    pair = measured(*world())
    assert pair.verdict == PASSES and pair.mean_share > 0.95 and pair.best_linear > 85
    assert (pair.n_fit, pair.n_held) == (C * PER_CLASS * 4 // 5, C * PER_CLASS // 5)
    assert (pair.dataset, pair.backbone, pair.data, pair.weights) == ('drawn', 'net', 'train-print', 'w-print')


def test_noise_in_one_direction_hides_the_means_but_not_the_classes():
    """The pattern of a stress test: linear probes ignore the loud feature, distances to means do not."""
    quiet, loud = measured(*world()), measured(*world(loud=100))
    assert loud.best_linear == pytest.approx(quiet.best_linear, abs=5)
    assert loud.nearest_mean < 0.4 * quiet.nearest_mean and loud.verdict == STRESS_TEST
    assert loud.participation_ratio == pytest.approx(1, abs=0.01) and loud.five_components > 0.99
    assert quiet.participation_ratio > 5 and quiet.five_components < 0.9


def test_one_image_per_class_that_is_enough_leaves_nothing_to_win():
    pair = measured(*world(scale=20))
    assert pair.random > 95 and pair.mean_share > 0.99 and pair.verdict == STRESS_TEST
    assert pair.failures == [f'best linear - random is {pair.gap:.1f} points, not above 30']


def test_the_nearest_mean_is_that_of_all_distances():
    f_ND, train = world(loud=3)
    fold_N = measuring.folds(train.labels_N, measuring.FOLDS, 'gate')
    fit, held = fold_N > 0, fold_N == 0
    mean_CD = np.stack([f_ND[fit & (train.labels_N == c)].mean(axis=0) for c in range(C)])
    distance_NC = np.linalg.norm(f_ND[held][:, None] - mean_CD, axis=2)
    expected = 100 * (distance_NC.argmin(axis=1) == train.labels_N[held]).mean()
    assert measured(f_ND, train).nearest_mean == pytest.approx(expected, abs=0.01)


def test_the_spectrum_is_that_of_the_covariance():
    f_ND, train = world(loud=3)
    value_D = np.linalg.eigvalsh(np.cov(f_ND.T.astype(float)))
    pair = measured(f_ND, train)
    assert pair.participation_ratio == pytest.approx(value_D.sum() ** 2 / np.square(value_D).sum(), abs=0.01)
    assert pair.five_components == pytest.approx(value_D[-5:].sum() / value_D.sum(), abs=1e-4)


def test_held_out_images_decide_nothing():
    """Other features of held-out images change accuracies, but neither the strength nor a classifier."""
    f_ND, train = world(loud=3)
    fold_N = measuring.folds(train.labels_N, measuring.FOLDS, 'gate')
    solved = []
    whole = measuring.solve

    def noted(*given):
        solved.append(whole(*given))
        return solved[-1]

    answers = []
    for f in (f_ND, np.where((fold_N == 0)[:, None], 1000 * f_ND, f_ND)):
        solved.clear()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(measuring, 'solve', noted)
            pair = measured(f.astype(np.float32), train)
        answers.append((pair.strength, [w for w, _ in solved]))
    assert answers[0][0] == answers[1][0] in STRENGTHS
    torch.testing.assert_close(answers[0][1], answers[1][1], rtol=1e-3, atol=1e-3)


def test_unseen_labels_are_not_learnt():
    generator = np.random.default_rng(1)
    labels = generator.integers(C, size=400)
    pair = measured(generator.normal(size=(400, D)).astype(np.float32), train_of(labels))
    assert pair.best_linear < 30 and pair.random < 30 and pair.verdict == STRESS_TEST


def test_a_class_with_one_image_is_refused():
    f_ND, train = world()
    labels = train.labels_N.copy()
    labels[np.flatnonzero(labels == 3)[1:]] = 4
    with pytest.raises(InputError, match="^drawn: expected two training images of each class or more, .* got 1 of 'd'; "):
        measured(f_ND, replace(train, labels_N=labels))


# --- the rule and the table -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'verdict', 'because'),
    [
        ({}, PASSES, []),
        ({'nearest_mean': 72, 'random': 59.9}, PASSES, []),  # .8 is enough, and 30.1 points
        ({'nearest_mean': 71}, STRESS_TEST, ['nearest mean / best linear is 0.789, below 0.8']),
        ({'random': 60}, STRESS_TEST, ['best linear - random is 30.0 points, not above 30']),
        ({'nearest_mean': 0, 'best_linear': 0, 'random': 0}, STRESS_TEST, None),
    ],
)
def test_the_rule(changes, verdict, because):
    pair = a_pair(**changes)
    assert pair.verdict == verdict
    assert len(pair.failures) == 2 if because is None else pair.failures == because


def test_lines_are_read_as_they_were_written_and_replaced_by_pair(tmp_path):
    first, other = a_pair(best_linear=88.888, strength=1e-5), a_pair(backbone='tiny_b', random=70)
    gate.write(tmp_path, [other, first])
    before = (tmp_path / gate.FILE).read_text()
    gate.write(tmp_path, [first])
    assert (tmp_path / gate.FILE).read_text() == before
    found = gate.load(tmp_path)
    assert (found['toy', 'tiny_a'], found['toy', 'tiny_b']) == (first, other)
    again = replace(first, random=1.0)
    gate.write(tmp_path, [again])
    assert gate.load(tmp_path)['toy', 'tiny_a'] == again and gate.load(tmp_path)['toy', 'tiny_b'] == other


def test_the_table_of_the_project_holds_for_other_results_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, '_OWN', tmp_path / 'own')
    gate.write(tmp_path / 'own', [a_pair(), a_pair(backbone='tiny_b')])
    gate.write(tmp_path / 'out', [a_pair(random=80)])
    found = gate.load(tmp_path / 'out')
    assert (found['toy', 'tiny_a'].random, found['toy', 'tiny_b'].random) == (80, 40)


def test_other_images_or_weights_are_not_gated():
    pairs = {('toy', 'tiny_a'): a_pair(data='0123456789abcdef', weights='fedcba9876543210')}
    known = {'data': '0123456789abcdef/and-test', 'weights': 'fedcba9876543210'}
    short = {'data': '01234567/89abcdef', 'weights': 'fedcba98'}
    for record in (known, short):
        assert gate.verdict(pairs, 'toy', 'tiny_a', **record) == PASSES
        assert gate.verdict(pairs, 'toy', 'tiny_b', **record) == NOT_GATED
        assert gate.verdict(pairs, 'toy', 'tiny_a', **{**record, 'weights': '76543210'}) == NOT_GATED
        assert gate.verdict(pairs, 'toy', 'tiny_a', **{**record, 'data': '89abcdef/01234567'}) == NOT_GATED
        assert gate.verdict(pairs, 'toy', 'tiny_a', **{**record, 'data': None}) == NOT_GATED


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (',80.0,', ',81.0%,', "line 2: expected a text or a number, got '81.0%' as nearest_mean; run python -m bench.gate"),
        (',80.0,', ',nan,', "line 2: expected a text or a number, got 'nan' as nearest_mean"),
        (',32,', ',,', "line 2: expected a text or a number, got '' as n_fit"),
        ('passes', 'stress test', "line 2: the verdict is 'stress test', its numbers say 'passes'; run python -m bench"),
        ('random', 'rnd', 'expected the columns dataset, backbone, .*; random is missing'),
    ],
)
def test_a_damaged_table_is_named(tmp_path, old, new, message):
    path = gate.write(tmp_path, [a_pair()])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=f'{gate.FILE}.*{message}'):
        gate.load(tmp_path)
    with pytest.raises(InputError):
        gate.write(tmp_path, [a_pair(backbone='tiny_b')])


# --- the leaderboard --------------------------------------------------------------------------------------------------


def test_the_leaderboard_marks_the_columns_of_stress_tests(tmp_path):
    for backbone in ('tiny_a', 'tiny_b', 'tiny_c'):
        put(tmp_path, 'random', (0.5, 0.6), on=backbone)
        put(tmp_path, 'zero', None, on=backbone)  # failed: it does not say whether its backbone passes
    gate.write(tmp_path, [a_pair(), a_pair(backbone='tiny_b', nearest_mean=9, weights='tiny_b-w')])
    board = summary.read(tmp_path)
    gated = {(row['method'], row['eval_backbone']): row['gate'] for row in board.rows}
    assert [gated['random', name] for name in ('tiny_a', 'tiny_b', 'tiny_c')] == [PASSES, STRESS_TEST, NOT_GATED]
    assert {gated['zero', name] for name in ('tiny_a', 'tiny_b', 'tiny_c')} == {None}
    text = tables.markdown(board)
    assert '| method | ipc | tiny_a | tiny_b ‡ | tiny_c | sets x probes |' in text
    notes = [line for line in text.splitlines() if line.startswith('- ') and 'failed' not in line]
    assert notes == [
        '- passes the gate (nearest mean / best linear, best linear - random): tiny_a (0.89, 50)',
        '- ‡ stress test, in no verdict and no mean (nearest mean / best linear, best linear - random): tiny_b (0.10, 50)',
        '- not gated (python -m bench.gate): tiny_c',
    ]
    assert 'tiny_b ‡' in tables.text(board)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run_gate(own_plugins, tmp_path):
    def run(*words):
        places = [f'--results_dir={tmp_path / "results"}', f'--cache_dir={tmp_path / "cache"}', '--device=cpu']
        return commands.run('bench.gate', f'--plugin={TOY}', *places, *words)

    return run


def test_the_command_measures_and_keeps_pairs(run_gate, tmp_path):
    done = run_gate('--dataset=toy_data', '--backbone=toy_net,b=toy_net', '--gin_bindings=b/toy_net.seed = 3')
    assert (done.status, done.err) == (0, '')
    found = gate.load(tmp_path / 'results')
    mine = [found['toy_data', name] for name in ('toy_net', 'b')]
    # 39 images of six classes, 6 or 7 each: two of each class are held out
    assert [(pair.n_fit, pair.n_held) for pair in mine] == [(27, 12)] * 2
    assert mine[0].weights != mine[1].weights and mine[0].best_linear > 50
    for pair in mine:
        assert any(pair.backbone in line and line.endswith(pair.verdict) for line in done.out.splitlines())
    assert str(tmp_path / 'results' / 'gate.csv') in done.out


def test_the_pairs_of_a_run_are_gated_and_its_records_recognised(run_gate, run_bench, tmp_path):
    lines = ("datasets = 'toy_data'", "backbones = ['toy_net']", "methods = ['random']", "protocol = 'ridge-v2'")
    bound = [f'--gin_bindings=run.{line}' for line in lines]
    assert run_bench(*bound).status == 0
    (before,) = summary.read(tmp_path / 'results').rows
    assert run_gate(*bound).status == 0
    (row,) = summary.read(tmp_path / 'results').rows
    assert before['gate'] == NOT_GATED and row['gate'] in (PASSES, STRESS_TEST)


def test_the_gate_sees_no_test_image(run_gate, toy, monkeypatch):
    class Closed:
        """Test images that raise."""

        def __getitem__(self, i):
            raise AssertionError('the gate looked at the test split')

    calls = []

    def sealed(places):
        made = toy.toy_data(places)
        calls.append(replace(made, test=replace(made.test, images=Closed())))
        return calls[-1]

    monkeypatch.setitem(registry._plugins['dataset'], 'toy_data', registry.Row('toy_data', sealed, 'sealed'))
    assert run_gate('--dataset=toy_data', '--backbone=toy_net').status == 0
    assert len(calls) == 1


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'expected --dataset=NAME, or --gin_file=FILE with run.datasets; got neither'),
        (['--dataset=toy_data'], 'expected --backbone=NAME, or --gin_file=FILE with run.backbones; got neither'),
        (['--dataset=toy_dat', '--backbone=toy_net'], "unknown dataset 'toy_dat'"),
        (['--dataset=toy_data', '--backbone=toy_nett'], "unknown backbone 'toy_nett'"),
        (['--gin_bindings=run.dataset = 1'], "run has no parameter 'dataset'"),
        (['--gin_file=none.gin'], 'no gin file none.gin'),
        (
            ['--dataset=toy_data', '--backbone=toy_net', '--gin_bindings=toy_data.per_class = 1'],
            "toy_data: expected two training images of each class or more, one to fit and one held out, got 1 of 'red'",
        ),
    ],
)
def test_a_mistake_is_one_line(run_gate, words, message):
    done = run_gate(*words)
    assert done.status == 2 and message in done.err and done.err.count('\n') == 1 and done.err.startswith('bench.gate: ')


def test_a_damaged_table_ends_the_command_before_the_work(run_gate, tmp_path):
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results' / 'gate.csv').write_text('a,b\n')
    done = run_gate('--dataset=toy_data', '--backbone=toy_net')
    assert done.status == 2 and 'gate.csv' in done.err and not list((tmp_path / 'cache').glob('features/*'))


# --- the committed table ------------------------------------------------------------------------------------------------


def test_the_committed_lines_of_embedded_pairs_are_of_the_present_pictures_and_weights(tmp_path):
    """Whoever changes an embedded data set or encoder runs the gate again."""
    places = Places(None, None, tmp_path)

    def made(kind, name, *given):
        row, argument = registry.find(kind, name)
        return row.load()(*([argument] if argument else []), places, *given)

    pairs = [pair for pair in gate.load(ROOT / 'results').values() if pair.backbone.startswith(('tiny_', 'wild_'))]
    data, weights = {pair.dataset: pair.data for pair in pairs}, {pair.backbone: pair.weights for pair in pairs}
    assert len(data) > 1 and len(weights) > 1
    assert {name: made('dataset', name).train.fingerprint for name in data} == data, 'run python -m bench.gate'
    assert {name: made('backbone', name, CPU).fingerprint for name in weights} == weights, 'run python -m bench.gate'
