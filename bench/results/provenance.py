"""Provenance of a record: version, code, packages, machine, command and time. Imports none of the packages it lists."""

import functools
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
from bench.core.packages import installed_version
from bench.core.paths import ROOT
from bench.results.record import Provenance

_PACKAGES = 'torch torchvision timm open_clip_torch gin-config absl-py tensorboard pandas numpy'.split()

# Flags with paths of the user's machine. They do not affect the results and are private.
_OWN_FOLDERS = ('--cache_dir=', '--results_dir=')
# Environment variables that make the libraries of torch and numpy compute as on another processor.
_AS_ANOTHER_CPU = (
    'ATEN_CPU_CAPABILITY', 'ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA', 'MKL_CBWR', 'OPENBLAS_CORETYPE',
    'NPY_DISABLE_CPU_FEATURES',
)  # fmt: skip


def collect() -> Provenance:
    """Return the provenance of results computed now by this process."""
    return Provenance(
        version=bench.__version__,
        **_checkout(),
        versions=_versions(),
        platform=platform.platform(),
        cpu=', '.join([_cpu(), *(f'{name}={os.environ[name]}' for name in _AS_ANOTHER_CPU if name in os.environ)]),
        threads=_threads(),
        command=shlex.join(['python', *(part for part in sys.orig_argv[1:] if not part.startswith(_OWN_FOLDERS))]),
        created=datetime.now(UTC).isoformat(timespec='seconds'),
    )


@functools.cache
def _cpu() -> str:
    """Return the processor's name, family, model and stepping: its vector instructions decide the last bits of a float."""
    try:
        first = Path('/proc/cpuinfo').read_text(encoding='utf-8').partition('\n\n')[0]
    except OSError:
        return platform.processor()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(':') for line in first.splitlines())}
    if 'model name' not in facts:
        return platform.processor()
    numbers = [f'{name} {facts[name]}' for name in ('cpu family', 'model', 'stepping') if name in facts]
    return ', '.join([facts['model name'], *numbers])


def _threads() -> int | None:
    """Return the number of threads that torch uses, or None if torch is not loaded."""
    torch = sys.modules.get('torch')
    return torch.get_num_threads() if torch is not None and hasattr(torch, 'get_num_threads') else None


@functools.cache
def _versions() -> dict[str, str | None]:
    return {'python': platform.python_version(), **{package: installed_version(package) for package in _PACKAGES}}


@functools.cache
def _checkout() -> dict[str, Any]:
    """Return the current commit and whether the code has uncommitted changes, or None outside a git checkout.

    Changes in results/ do not count, because runs write there.
    """

    def git(*arguments: str) -> str:
        command = ['git', '--no-optional-locks', '-C', str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        if Path(git('rev-parse', '--show-toplevel')).resolve() != ROOT:
            return {'commit': None, 'dirty': None}  # installed inside a checkout of another project
        commit = git('rev-parse', 'HEAD')
        changed = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!results')
    except (OSError, subprocess.SubprocessError):
        return {'commit': None, 'dirty': None}
    return {'commit': commit, 'dirty': bool(changed)}
