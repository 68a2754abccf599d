"""A killed run resumes and ends with identical bits; a checkpoint of another computation is refused."""

import os
import signal

import pytest
import torch
from conftest import TOY_LINES, all_records, files_below, methods_where

import methods.lgm
from bench.core import cli, interrupts
from bench.core.errors import InputError
from bench.distillation.distilled_set import DistilledSet
from bench.machine.checkpoints import Checkpoint

pytestmark = pytest.mark.numerical

def lines_of(method, *more):
    """Return the bindings of a short run of a method."""
    settings = (
        'num_updates = 30', 'level_every = 4', 'num_views = 3', 'log_every = 5', 'num_augmentations = 2',
        'learning_rate = 0.05', 'checkpoint_every = 5', *more,
    )  # fmt: skip
    return [f"run.methods = ['{method}']", *(f'{method}.{line}' for line in settings)]


def killed_at(monkeypatch, step):
    """End the process's work right after the checkpoint of an update, as a kill would."""
    save = Checkpoint.save

    def save_and_die(self, state):
        save(self, state)
        if state['step'] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, 'save', save_and_die)


@pytest.mark.parametrize(
    ('step', 'method', 'extra'),
    [
        *((5, name, []) for name in methods_where(lambda needs: not needs.real)),
        (20, 'lgm', ["real_gradient = 'full'", 'num_probes = 2']), (30, 'lgm', ['chunk_size = 3']),
        (20, 'lgm', ['num_views = None']),
    ],
)  # fmt: skip
def test_a_killed_and_resumed_run_gives_the_same_bits(command, toy, tmp_path, monkeypatch, step, method, extra):
    """Every method that synthesises, killed early; LGM later too."""
    lines = [*TOY_LINES, *lines_of(method, *extra)]

    def run(folder):
        places = [f'--results_dir={tmp_path / folder}', f'--cache_dir={tmp_path / "cache"}']
        return command(*places, *[f'--gin_bindings={line}' for line in lines])

    assert run('whole').status == 0
    with monkeypatch.context() as patched:
        killed_at(patched, step)
        assert run('killed').status == 130
    assert [name for name in files_below(tmp_path / 'killed') if name.endswith('.checkpoint')]
    saved = []
    monkeypatch.setattr(Checkpoint, 'save', lambda self, state: saved.append(state['step']))
    assert run('killed').status == 0
    assert saved == list(range(step + 5, 31, 5)), 'the updates before the kill were done again'
    (whole,), (resumed,) = (all_records(tmp_path / name) for name in ('whole', 'killed'))
    assert whole.distilled.hash == resumed.distilled.hash and whole.top1 == resumed.top1
    curves = [DistilledSet.load(path.parent).curves for path in tmp_path.rglob('set.json')]
    assert curves[0] == curves[1] and len(curves[0]['distill/meta_loss']) == 6
    assert not [name for name in files_below(tmp_path) if name.endswith('.checkpoint')]


def test_a_checkpoint_of_another_configuration_is_refused_and_both_are_named(run_bench, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        killed_at(patched, 5)
        assert run_bench(bind=lines_of('lgm')).status == 130
    (theirs,) = tmp_path.rglob('*.checkpoint')
    with monkeypatch.context() as patched:
        killed_at(patched, 5)
        other = lines_of('lgm', 'learning_rate = 0.2')
        assert run_bench(bind=other).status == 130
    (ours,) = set(tmp_path.rglob('*.checkpoint')) - {theirs}
    theirs.rename(ours)
    before = files_below(tmp_path / 'results')
    outcome = run_bench(bind=other)
    assert (outcome.status, outcome.out) == (2, '')
    expected = 'was made with method_settings.learning_rate = 0.05; this run has method_settings.learning_rate = 0.2'
    assert expected in outcome.err and str(ours) in outcome.err and outcome.err.count('\n') == 1
    assert files_below(tmp_path / 'results') == before
    assert run_bench('--force', bind=other).status == 0


@pytest.mark.parametrize(('number', 'at'), [(signal.SIGTERM, 17), (signal.SIGUSR1, 20), (signal.SIGINT, 3)])
def test_a_signal_ends_the_run_after_the_update_with_a_checkpoint(command, toy, tmp_path, monkeypatch, number, at):
    lines, calls, distance = [*TOY_LINES, *lines_of('lgm')], [], methods.lgm.gradient_distance

    def run(folder):
        places = [f'--results_dir={tmp_path / folder}', f'--cache_dir={tmp_path / "cache"}']
        return command(*places, *[f'--gin_bindings={line}' for line in lines])

    def counted(*given):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return distance(*given)

    assert run('whole').status == 0
    with monkeypatch.context() as patched:
        patched.setattr(methods.lgm, 'gradient_distance', counted)
        outcome = run('stopped')
    assert outcome.status == 130 and 'the same command resumes it' in outcome.err and len(calls) == at
    (path,) = (tmp_path / 'stopped').rglob('*.checkpoint')
    assert torch.load(path, weights_only=True)['state']['step'] == at
    assert not [name for name in files_below(tmp_path / 'stopped') if '.lease' in name or 'unfinished' in name]
    assert run('stopped').status == 0
    (whole,), (resumed,) = (all_records(tmp_path / name) for name in ('whole', 'stopped'))
    assert whole.distilled.hash == resumed.distilled.hash and whole.correct == resumed.correct
    curves = [DistilledSet.load(path.parent).curves for path in tmp_path.rglob('set.json')]
    assert curves[0] == curves[1]


def test_a_second_signal_does_not_wait():
    interrupts.install()
    with pytest.raises(KeyboardInterrupt), interrupts.deferred() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail('not reached')
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupts.deferred():  # nobody asks
        os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.install()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_damaged_checkpoint_is_refused_and_a_save_replaces_it_whole(tmp_path):
    checkpoint = Checkpoint(tmp_path / 'a.checkpoint', {'seed': 0})
    assert checkpoint.load() is None
    checkpoint.save({'step': 3})
    assert checkpoint.load() == {'step': 3}
    assert [path.name for path in tmp_path.iterdir()] == ['a.checkpoint']
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r'a.checkpoint is damaged .* delete it to start over'):
        checkpoint.load()
    checkpoint.delete()
    assert checkpoint.load() is None


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    checkpoint, state = Checkpoint(tmp_path / 'a.checkpoint', {'seed': 0}), {'x': torch.arange(64.0), 'step': 7}
    checkpoint.save(state)
    whole, noticed = checkpoint.path.read_bytes(), 0
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        checkpoint.path.write_bytes(flipped)
        try:
            loaded = checkpoint.load()
        except InputError:
            noticed += 1
        else:
            assert torch.equal(loaded['x'], state['x']) and loaded['step'] == 7 and checkpoint.earlier < 60
    assert noticed > 20


def test_seconds_of_a_killed_run_are_counted(tmp_path):
    first = Checkpoint(tmp_path / 'a.checkpoint', {}, earlier=100.0)
    first.save({'step': 1})
    second = Checkpoint(tmp_path / 'a.checkpoint', {})
    second.load()
    assert 100 <= second.earlier < 101


def test_the_exit_of_a_kill_is_that_of_an_interrupt():
    def interrupted():
        raise KeyboardInterrupt

    assert cli.guarded(interrupted, ['x'], name='x') == 130
