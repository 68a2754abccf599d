"""Shared flags and exit statuses. Bad input ends in one line and status 2, an interrupt in 130, `| head` in 141."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging

from bench.core import interrupts
from bench.core.errors import InputError, unwritable
from bench.core.progress import UNREAD

if TYPE_CHECKING:
    from bench.core.types import Places

flags.disclaim_key_flags()  # so that --help lists the flags made by `define` under the command

# Flags shared by several commands: kind, default and help text.
_FLAGS: dict[str, tuple[Callable[..., Any], Any, str]] = {
    'gin_file': (flags.DEFINE_multi_string, [], 'gin file, searched for here and then in the repository; repeatable'),
    'gin_bindings': (flags.DEFINE_multi_string, [], 'gin binding, such as "lgm.num_updates = 50"; wins over the files'),
    'plugin': (flags.DEFINE_multi_string, [], 'module or .py file that registers methods, data sets, backbones, ...'),
    'results_dir': (flags.DEFINE_string, 'results', 'folder of the records and of everything made from them'),
    'cache_dir': (flags.DEFINE_string, None, 'folder of cached files, such as features (default: .cache, or $BENCH_CACHE)'),
    'data_root': (flags.DEFINE_string, None, 'folder with the data sets'),
    'weights_root': (flags.DEFINE_string, None, 'folder with local checkpoints'),
    'device': (partial(flags.DEFINE_enum, enum_values=['auto', 'cpu', 'cuda', 'mps']), 'auto', 'auto is cuda, mps or cpu'),
    'force': (flags.DEFINE_bool, False, 'run cells again even if they have a record'),
}


def define(*names: str, **defaults: Any) -> None:
    """Define shared flags for this command.

    Args:
      names: flags with their usual default.
      defaults: flags with a default of their own in this command.
    """
    for name in (*names, *defaults):
        kind, default, text = _FLAGS[name]
        kind(name, defaults.get(name, default), help=text)


def start(main: Callable[..., int], *, words: bool = False) -> None:
    """Parse the flags, run `main`, and exit with the status it returns.

    With `words`, `main` receives the positional arguments; without it, positional arguments are an error.

    Ctrl-C, SIGTERM and SIGUSR1 end the command (`bench.core.interrupts`). Finished work is on disk.
    """
    name = module_name(sys.modules['__main__'])

    def parse(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            print(f'{name}: {error}', file=sys.stderr)
            sys.exit(2)

    try:
        try:
            app.run(lambda argv: guarded(main, argv, name=name, words=words), flags_parser=parse)
        finally:
            print(end='', flush=True)
    except BrokenPipeError:
        if not output_is_unread():
            raise
        # discard the output that Python still buffers
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.exit(UNREAD)


def module_name(main: ModuleType) -> str:
    """Return the command's name for `python -m`, or exit with status 2 if it was started as a file.

    A script's folder comes first on Python's path, so `import datasets` would find the folder of that name next to the file.
    """
    if main.__spec__ and main.__package__:  # a folder that runs as a file has no package
        return main.__spec__.name.removesuffix('.__main__')
    assert main.__file__, 'a command lies in a file'
    path = Path(main.__file__).resolve().with_suffix('')
    package = next((folder for folder in path.parents if not (folder / '__init__.py').is_file()), path.parent)
    name = '.'.join(path.relative_to(package).parts).removesuffix('.__main__')
    print(f'{sys.argv[0]}: expected a module, got a file; use python -m {name}', file=sys.stderr)
    sys.exit(2)


def output_is_unread() -> bool:
    """Return whether standard output or error is a pipe whose reader is gone."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)  # errors alone
    return bool(poll.poll(0))


def guarded(main: Callable[..., int], argv: list[str], *, name: str, words: bool = False) -> int:
    """Run `main` after the flags are parsed, and return the exit status. `argv` holds the remaining arguments."""
    logging.set_verbosity(logging.WARNING)
    # read when the hub's client is imported: a failed transfer is reported once, by our error, not at every retry
    os.environ.setdefault('HF_HUB_VERBOSITY', 'error')
    interrupts.install()
    sys.unraisablehook = interrupt_again
    threading.excepthook = report_of_thread
    try:
        if argv[1:] and not words:
            raise InputError(f'expected flags only, got {argv[1]!r}; see --help')
        return main(argv[1:]) if words else main()
    except InputError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 2
    except Exception as error:
        if not (reason := unwritable(error)):
            raise
        print(f'{name}: cannot write: {reason}; finished work is kept: make room, or use another folder', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'\n{name}: interrupted; finished work is kept, and the same command resumes it', file=sys.stderr)
        return 130


def places() -> 'Places':
    """Return the folders given by the flags data_root, weights_root and cache_dir.

    Raises:
      InputError: if a root does not exist, or the cache is not a folder.
    """
    from bench.core.types import Places

    return Places(given_root('data_root'), given_root('weights_root'), cache_dir())


def cache_dir() -> Path:
    """Return the folder given by the flag cache_dir, else $BENCH_CACHE, else .cache.

    Raises:
      InputError: if it is not a folder.
    """
    folder = Path(flags.FLAGS.cache_dir or os.environ.get('BENCH_CACHE') or '.cache')
    if folder.exists() and not folder.is_dir():
        raise InputError(f'--cache_dir={folder}: expected a folder, or a new path; got a file')
    return folder


def given_root(name: str) -> Path | None:
    """Return the folder given by a flag such as `weights_root`, or None if the flag is not given.

    Raises:
      InputError: if the folder does not exist.
    """
    value = flags.FLAGS[name].value
    if value is not None and not Path(value).is_dir():
        raise InputError(f'--{name}={value}: expected an existing folder')
    return Path(value) if value is not None else None


def gin_command(name: str) -> str:
    """Return the command line that repeats this command with the same gin files, bindings and plug-ins."""
    parts = [f'--gin_file={path}' for path in flags.FLAGS.gin_file]
    parts += [f'--gin_bindings="{binding}"' for binding in flags.FLAGS.gin_bindings]
    parts += [f'--plugin={name}' for name in flags.FLAGS.plugin]
    return ' '.join([f'python -m {name}', *parts])


def report_of_thread(failure: Any) -> None:
    """Report an error that ended a thread, but not a full disk, which TensorBoard's thread hands to the main one."""
    if not unwritable(failure.exc_value):
        threading.__excepthook__(failure)


def interrupt_again(unraisable: Any) -> None:
    """Repeat an interrupt that arrived while a destructor ran (tqdm's, for example), because Python drops it there."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # a real signal also ends a wait; SIGTERM, because `guarded` turns it into an interrupt, while nohup ignores SIGINT
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(unraisable)
