"""What all commands share: mistakes in the input end in one line and exit status 2, an interrupt in 130, `| head` in 141."""

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

from bench.core.errors import InputError
from bench.core.progress import UNREAD

if TYPE_CHECKING:
    from bench.core.types import Places

flags.disclaim_key_flags()  # --help shows those that `define` makes as flags of the command

# Flags that several commands have: of which kind each is, its default, and what --help says.
_FLAGS: dict[str, tuple[Callable[..., Any], Any, str]] = {
    'gin_file': (flags.DEFINE_multi_string, [], 'gin file, looked for here and then in the repository; repeatable'),
    'gin_bindings': (flags.DEFINE_multi_string, [], 'gin binding, such as "lgm.num_updates = 50"; wins over the files'),
    'plugin': (flags.DEFINE_multi_string, [], 'module or .py file that registers methods, data sets, backbones, ...'),
    'results_dir': (flags.DEFINE_string, 'results', 'folder of the records and of all that is made from them'),
    'cache_dir': (flags.DEFINE_string, None, 'what can be made again, such as features (default: .cache, or $BENCH_CACHE)'),
    'data_root': (flags.DEFINE_string, None, 'folder with the data sets'),
    'weights_root': (flags.DEFINE_string, None, 'folder with local checkpoints'),
    'device': (partial(flags.DEFINE_enum, enum_values=['auto', 'cpu', 'cuda', 'mps']), 'auto', 'auto is cuda, mps or cpu'),
    'force': (flags.DEFINE_bool, False, 'run cells again that have a record'),
}


def define(*names: str, **defaults: Any) -> None:
    """Define flags that several commands have.

    Args:
      names: of flags with their usual default.
      defaults: name -> default of flags that have another one in this command.
    """
    for name in (*names, *defaults):
        kind, default, text = _FLAGS[name]
        kind(name, defaults.get(name, default), help=text)


def start(main: Callable[..., int], *, words: bool = False) -> None:
    """Parse the flags, run `main`, and exit with the status it returns.

    With `words`, `main` is given what stands on the command line beside the flags; without, such words are a mistake.

    Ctrl-C and SIGTERM end the command alike: the work under way is dropped, what is finished is on disk.
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
        # what Python still holds goes nowhere
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.exit(UNREAD)


def module_name(main: ModuleType) -> str:
    """Return the name that `python -m` knows a command by, or exit with status 2 where it runs as a file.

    A file's folder comes first on Python's path: `import datasets` would find the folder of that name beside the file.
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
    """Return whether standard output or error is a pipe that nobody reads any more."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)  # errors alone
    return bool(poll.poll(0))


def guarded(main: Callable[..., int], argv: list[str], *, name: str, words: bool = False) -> int:
    """Run `main` after the flags are parsed and return the exit status; `argv` is what they left over."""
    logging.set_verbosity(logging.WARNING)
    # read when the hub's client is imported: what a transfer fails of is told once, by the error, not at each of its retries
    os.environ.setdefault('HF_HUB_VERBOSITY', 'error')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = interrupt_again
    try:
        if argv[1:] and not words:
            raise InputError(f'expected flags only, got {argv[1]!r}; see --help')
        return main(argv[1:]) if words else main()
    except InputError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'\n{name}: interrupted; what was finished is kept, the same command goes on', file=sys.stderr)
        return 130


def places() -> 'Places':
    """Return the folders that the flags data_root, weights_root and cache_dir name.

    Raises:
      InputError: for a root that does not exist, or a file in place of the cache.
    """
    from bench.core.types import Places

    return Places(given_root('data_root'), given_root('weights_root'), cache_dir())


def cache_dir() -> Path:
    """Return the folder that the flag cache_dir names, else $BENCH_CACHE, else .cache.

    Raises:
      InputError: for a file in its place.
    """
    folder = Path(flags.FLAGS.cache_dir or os.environ.get('BENCH_CACHE') or '.cache')
    if folder.exists() and not folder.is_dir():
        raise InputError(f'--cache_dir={folder}: expected a folder, or nothing yet; got a file')
    return folder


def given_root(name: str) -> Path | None:
    """Return the folder that a flag names, such as `weights_root`; None where the flag is not given.

    Raises:
      InputError: for a folder that does not exist.
    """
    value = flags.FLAGS[name].value
    if value is not None and not Path(value).is_dir():
        raise InputError(f'--{name}={value}: expected an existing folder')
    return Path(value) if value is not None else None


def gin_command(name: str) -> str:
    """Return how to repeat a command of this name with the gin files, bindings and plug-ins of the flags."""
    parts = [f'--gin_file={path}' for path in flags.FLAGS.gin_file]
    parts += [f'--gin_bindings="{binding}"' for binding in flags.FLAGS.gin_bindings]
    parts += [f'--plugin={name}' for name in flags.FLAGS.plugin]
    return ' '.join([f'python -m {name}', *parts])


def interrupt_again(unraisable: Any) -> None:
    """Ask again for an interrupt that came while a destructor ran (tqdm's, say), where Python drops it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # a real signal, which also ends a wait; `guarded` has made SIGTERM an interrupt, where SIGINT may be ignored (nohup)
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(unraisable)
