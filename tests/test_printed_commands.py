"""Every command that README, BUILD, docs and the heads of gin files print is one that works.

Each runs as it is printed, in a scratch folder that stands for the checkout: with copies of the documents and of the tables
in results/, and the committed records. What needs a download, a GPU or hours is run as the table in `how` says.
"""

import re
import shutil
import subprocess

import pytest
from test_leaderboard import put

from tests import commands
from tests.commands import Printed
from tests.conftest import ROOT, TOY_LINES
from tests.miniatures import install

# docs/adding.md has a test of its own, which writes its files first
DOCS = [path for path in sorted((ROOT / 'docs').glob('*.md')) if path.name != 'adding.md']
DOCUMENTS = [ROOT / 'README.md', ROOT / 'BUILD.md', ROOT / 'CONTRIBUTING.md', *DOCS]
GIN = sorted((ROOT / 'gin').rglob('*.gin'))
# not run: they make the checkout and enter its environment
EXCEPTIONS = {'git clone <this repository> && cd <its folder>', '. .venv/bin/activate'}
# a sentence that names a command, or shows the form of one, prints none
NAMED = re.compile(r'python -m bench\.(run|replay|analyze|gate)|.* \.\.\.')
# what else stands in code blocks: lines for a gin file, and where a file is to lie
NO_COMMAND = re.compile(r'[\w./]+ = .+|<weights_root>/.*')


def printed(found):
    """Return each command once, wherever it is printed."""
    return list({each.line: each for each in reversed(found) if not NAMED.fullmatch(each.line)}.values())[::-1]


LINES = printed([each for path in DOCUMENTS for each in commands.of_markdown(path, ROOT)])
ALL = [each for each in LINES if not NO_COMMAND.fullmatch(each.line)]
PYTHON = [each for each in ALL if re.match(r'python |torchrun ', each.line)]
MAKE = [each for each in ALL if each.line.startswith('make ')]
TENSORBOARD = [each for each in ALL if each.line.startswith('tensorboard ')]
IN_GIN = printed([each for path in GIN for each in commands.of_gin_head(path, ROOT)])


@pytest.fixture(scope='module', autouse=True)
def untouched():
    """No command writes into the repository."""
    folders = [ROOT / name for name in ('results', 'docs', 'gin', 'bench', 'methods')]

    def state():
        paths = [*(path for folder in folders for path in folder.rglob('*')), *ROOT.glob('*')]
        return {path: path.stat().st_mtime_ns if path.is_file() else None for path in paths if 'pyc' not in path.name}

    before = state()
    yield
    assert state() == before


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where a command runs: it reads and writes as in the checkout, and changes nothing there."""
    folder = tmp_path / 'checkout'
    (folder / 'docs').mkdir(parents=True)
    for path in DOCUMENTS:
        shutil.copy(path, folder / path.relative_to(ROOT))
    own = shutil.ignore_patterns('records', 'distilled', 'tensorboard')
    shutil.copytree(ROOT / 'results', folder / 'results', ignore=own)
    (folder / 'results' / 'records').symlink_to(ROOT / 'results' / 'records')
    (folder / 'gin').symlink_to(ROOT / 'gin')
    monkeypatch.chdir(folder)
    monkeypatch.delenv('BENCH_CACHE', raising=False)
    return folder


@pytest.fixture(scope='module')
def toy_results(command, tmp_path_factory):
    """The results folder of a run, as `out/quickstart` is one."""
    folder = tmp_path_factory.mktemp('toy')
    lines = [*TOY_LINES, "run.methods = ['random', 'centroid']"]
    places = [f'--results_dir={folder / "results"}', f'--cache_dir={folder / "cache"}']
    assert command(*places, *[f'--gin_bindings={line}' for line in lines]).status == 0
    return folder / 'results'


# --- how a command is run whose data, weights or hours are not at hand ----------------------------------------------------


@pytest.fixture
def how(scratch, monkeypatch, request):
    """Prepare the scratch folder for a command and return the words that it is run with; None if it is only parsed."""

    def roots(words):
        """Put folders that are there in the place of those that a reader has."""
        for name in ('data', 'weights'):
            (scratch / name).mkdir(exist_ok=True)
            words = [re.sub(rf'^--{name}_root=.*', f'--{name}_root={scratch / name}', word) for word in words]
        return words

    def with_data(words):
        """Let the official archives lie there as miniatures: nothing is fetched."""
        for name in words[1:]:
            if not name.startswith('--'):
                install(name, scratch / 'data', monkeypatch)
        return words

    def of_toy(words):
        """Replay a record of the toy world."""
        for word in words:
            folder = re.sub(r'^--record=(results/.*)/KEY\.json$', r'\1', word)
            assert folder == word or any((scratch / folder).glob('*.json')), f'{folder} holds no record'
        record = next(request.getfixturevalue('toy_results').glob('records/*/*/random/*.json'))
        return [f'--record={record}' if word.startswith('--record=') else word for word in words]

    def with_results(words):
        """Give a command the records of a run of its own; and those of a published table, where they are asked for."""
        (scratch / 'out' / 'quickstart').mkdir(parents=True)
        (scratch / 'out' / 'quickstart' / 'records').symlink_to(request.getfixturevalue('toy_results') / 'records')
        if '--to=published' in words:
            (scratch / 'results' / 'records').unlink()
            put(scratch / 'results', 'lgm', (0.6, 0.7), source='dinov2_vitb14', on='dinov2_vitb14', dataset='cub200')
        return words

    table = {
        'bench.run': lambda words: [*words, '--dry_run'],
        'bench.data': with_data,
        # four pictures of a species instead of 200
        'bench.gate': lambda words: [*words, *(f'--gin_bindings=plumage{d}.train_per_class = 4' for d in ('', '_families'))],
        'bench.replay': of_toy,
        'bench.compare': with_results,
        'bench.leaderboard': with_results,
        'benchmarks.leaderboard': lambda words: [*words, '--records=20'],
        'benchmarks.rounding': lambda words: None,  # distils for minutes
        'benchmarks.imagenet_scale': lambda words: None,  # half an hour; test_benchmarks.py runs its stages
        'tests.code_versions': lambda words: [],  # says what changed, keeps nothing
        'bench.pretrain': lambda words: None,  # 5 to 25 minutes; test_pretrain.py trains with each of its files
    }
    return lambda each: table.get(each.module, lambda words: words)(roots(each.arguments))


@pytest.mark.parametrize('each', PYTHON, ids=str)
def test_a_command_runs(each, how, scratch, toy):
    words = how(each)
    if words is None:
        values = commands.parsed(each.module, *each.arguments)
        assert all((ROOT / file).is_file() for file in values.get('gin_file', []))
        return
    done = commands.run(each.module, *words)
    assert done.status == 0 and 'Traceback' not in done.err, done
    documents = [word.removeprefix('--into=') for word in words if word.startswith('--into=')]
    assert documents or done.out.strip()
    for document in documents:
        assert (scratch / document).read_text() == (ROOT / document).read_text(), 'it shows what the command makes'


@pytest.mark.parametrize('each', IN_GIN, ids=str)
def test_a_command_in_the_head_of_a_gin_file_has_its_flags_and_files(each):
    """The files themselves are run by test_gin_files.py, test_analysis.py and test_pretrain.py."""
    if each.module:
        values = commands.parsed(each.module, *each.arguments)
        assert all((ROOT / file).is_file() for file in values.get('gin_file', []))
    else:
        assert each.line in {other.line for other in MAKE}


@pytest.mark.parametrize('each', MAKE, ids=str)
def test_a_target_of_make_is_there(each):
    done = subprocess.run([*each.words, '--dry-run'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('each', TENSORBOARD, ids=str)
def test_tensorboard_looks_where_runs_are_written(each, toy_results):
    results_dir, name = re.fullmatch(r'tensorboard --logdir (\S+)/(\w+)', each.line).groups()
    assert any((toy_results / name).rglob('events.*'))
    default = commands.parsed('bench.run')['results_dir']
    assert results_dir == default or f'--results_dir={results_dir}\n' in (ROOT / 'Makefile').read_text()


# --- that none is passed over ---------------------------------------------------------------------------------------------


def test_every_line_of_a_code_block_is_a_command_that_is_run_or_is_listed_here():
    assert {each.line for each in ALL} - {each.line for each in [*PYTHON, *MAKE, *TENSORBOARD]} == EXCEPTIONS
    assert {path.name for path in DOCUMENTS} >= {'README.md', 'BUILD.md', 'protocol.md'}
    assert {each.document.partition('/')[0] for each in PYTHON} == {'README.md', 'BUILD.md', 'docs'}
    assert len(PYTHON) > 25 and len(IN_GIN) > 30


def test_commands_are_read_from_fenced_and_indented_blocks_and_from_sentences(tmp_path):
    (tmp_path / 'a.md').write_text(
        'Use `python -m a\n--x=1`, not `a`.\n    no code, the paragraph goes on\n\n    make it   # said so\n'
        '    python -m b --y="1 # 2" \\\n        [--z=3] [names]\n\n```sh\ntorchrun -m c d\n```\n```gin\na.b = 1\n```\n'
    )
    found = commands.of_markdown(tmp_path / 'a.md', tmp_path)
    assert [each.line for each in found] == [
        'make it', 'python -m b --y="1 # 2" [--z=3] [names]', 'torchrun -m c d', 'python -m a --x=1',
    ]  # fmt: skip
    assert (found[1].module, found[1].arguments) == ('b', ['--y=1 # 2', '--z=3'])


@pytest.mark.parametrize(
    'line, message',
    [
        ('python -m bench.leaderboard --no_such_flag', "Unknown command line flag 'no_such_flag'"),
        ('python -m bench.run --gin_file=gin/no_such.gin', 'no gin file gin/no_such.gin'),
        ('python -m bench.compare --a=lgm', 'expected --a=METHOD --b=METHOD'),
    ],
)
def test_a_command_that_does_not_work_is_noticed(scratch, how, line, message):
    each = Printed('here', line)
    done = commands.run(each.module, *how(each))
    assert done.status == 2 and message in done.err
