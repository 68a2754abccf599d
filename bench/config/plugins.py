"""Plug-ins from the command line: `--plugin=my_package.my_method` or `--plugin=path/to/my_method.py`.

A plug-in calls `bench.config.registry.register` or `register_method` when it is imported.
"""

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import CodeType

from bench.core.errors import InputError
from bench.core.hashing import short_hash


def load(names: Iterable[str]) -> None:
    """Import each plug-in once.

    Args:
      names: module names, or paths of .py files, relative to the working directory.

    Raises:
      InputError: if a module or file does not exist, or its import fails.
    """
    for name in names:
        is_path = name.endswith('.py') or os.sep in name or '/' in name
        try:
            _load_path(name) if is_path else importlib.import_module(name)
        except InputError:
            raise
        except ModuleNotFoundError as error:
            if is_path or error.name is None or not (name == error.name or name.startswith(f'{error.name}.')):
                raise InputError(f'plug-in {name!r} needs the module {error.name!r}, which is not installed') from error
            raise InputError(
                f'plug-in {name!r}: no module of that name; give an importable module or the path of a .py file'
            ) from error
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            message = ' '.join(f'{type(error).__name__}: {error} ({where.filename}:{where.lineno})'.split())
            raise InputError(f'plug-in {name!r} failed on import: {message}') from error


class _FromSource(importlib.machinery.SourceFileLoader):
    """Always compiles the file: Python's bytecode cache misses an edit of the same size within one second."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _load_path(name: str) -> None:
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise InputError(f'plug-in {name!r}: no such file ({path})')
    # The hash separates two files of the same name, and a plug-in random.py from the standard library's module.
    module_name = f'bench_plugin_{path.stem}_{short_hash(str(path), length=8)}'
    if module_name in sys.modules:
        return
    if path.suffix != '.py':
        raise InputError(f'plug-in {name!r}: expected the path of a .py file')
    spec = importlib.util.spec_from_file_location(module_name, path, loader=_FromSource(module_name, str(path)))
    assert spec and spec.loader, 'the loader is given'
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before it runs, so that the registry can read its docstring
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
