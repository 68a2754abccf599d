"""Commands of the project, run in this process as `python -m MODULE ARGUMENTS` would, and those that documents print."""

import contextlib
import io
import re
import runpy
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from absl import app, flags


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


def run(module: str, *arguments: str) -> Outcome:
    """Run a command; relative paths are those of the working directory."""
    return _started(module, arguments, lambda main, argv: main(argv))


def parsed(module: str, *arguments: str) -> dict:
    """Return a command's flags as it reads them, without running it."""
    values = {}
    done = _started(module, arguments, lambda main, argv: values.update(flags.FLAGS.flag_values_dict()))
    assert (done.status, done.err) == (0, ''), done
    return values


def _started(module: str, arguments: tuple[str, ...], go: Callable) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    name = module if not hasattr(sys.modules.get(module), '__path__') else f'{module}.__main__'
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}

    def start(main, *, flags_parser=flags.FLAGS):
        sys.exit(go(main, flags_parser(sys.argv)))

    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _flags_of_absl_alone(),
        mock.patch.object(sys, 'argv', [module, *arguments]), mock.patch.object(app, 'run', start),
    ):
        imported = sys.modules.pop(name, None)  # a command that a test has imported begins anew
        try:
            runpy.run_module(module, run_name='__main__', alter_sys=True)
            status = None
        except SystemExit as error:
            status = error.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if imported is not None:
                sys.modules[name] = imported
    return Outcome(status or 0, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _flags_of_absl_alone() -> Iterator[None]:
    """Take away what imported commands have defined, as in a new process, and bring it back."""
    fresh = flags.FlagValues()
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith('absl'):
            for flag in defined:
                fresh[flag.name] = flag
    own = vars(flags.FLAGS)
    kept = dict(own)
    own.clear()
    own.update(vars(fresh))
    try:
        yield
    finally:
        own.clear()
        own.update(kept)


# --- what documents print -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Printed:
    """A line of a document that a reader would type, without its comment."""

    document: str
    line: str

    def __str__(self) -> str:
        return f'{self.document}: {self.line}'

    @property
    def words(self) -> list[str]:
        """What a shell would make of it; brackets round what may be left out are taken off a flag, a word is left out."""
        words = [word[1:-1] if re.fullmatch(r'\[--.*\]', word) else word for word in shlex.split(self.line, comments=True)]
        return [word for word in words if not re.fullmatch(r'\[.*\]', word)]

    @property
    def module(self) -> str:
        """The module that Python runs, '' for another program."""
        return self.words[self.words.index('-m') + 1] if self.words[0] in ('python', 'torchrun') else ''

    @property
    def arguments(self) -> list[str]:
        return self.words[self.words.index('-m') + 2 :]


def of_markdown(path: Path, root: Path) -> list[Printed]:
    """Return the lines of a document's code blocks, fenced or indented, and the commands that stand in its sentences.

    Fenced blocks of another language than `sh` hold no commands.
    """
    prose, code, fenced, language, before = [], [], False, '', ''
    for line in path.read_text(encoding='utf-8').splitlines():
        if line.startswith('```'):
            fenced, language = not fenced, line.removeprefix('```')
        elif fenced and language not in ('', 'sh'):
            pass
        elif fenced or (line.startswith('    ') and (not before.strip() or before.startswith('    '))):
            code.append(line)
        else:
            prose.append(line)
        before = line
    spans = [' '.join(span.split()) for span in re.findall(r'`([^`]+)`', '\n'.join(prose))]
    commands = [span for span in spans if re.match(r'(python -m|torchrun|make|tensorboard) ', span)]
    return [Printed(str(path.relative_to(root)), line) for line in [*_joined(code), *commands]]


def of_gin_head(path: Path, root: Path) -> list[Printed]:
    """Return the commands in the comments that a gin file begins with, one or two (`or`) a line, set in like code."""
    head = re.match(r'(#.*\n)*', path.read_text(encoding='utf-8')).group()
    code = [line.removeprefix('#') for line in head.splitlines() if line.startswith('#   ')]
    lines = [part for line in _joined(code) for part in re.split(r'\s+or\s+', line)]
    return [Printed(str(path.relative_to(root)), line) for line in lines if re.match(r'(python|make) ', line)]


def _joined(lines: list[str]) -> list[str]:
    """Return lines without their comments, those that a backslash continues as one."""
    whole = re.sub(r'\\\n\s*', '', '\n'.join(lines)).splitlines()
    bare = [re.match(r'''(?:[^"'#]|"[^"]*"|'[^']*')*''', line).group().strip() for line in whole]
    return [line for line in bare if line]
