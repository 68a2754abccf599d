"""Where weights are on this machine, and where they are published. Imports neither torch nor a model library."""

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import InputError

# of weights files, the longer ones first: `.pth.tar` is not `.tar`
ENDINGS = ('.safetensors', '.pth.tar', '.pth', '.pt', '.bin')


@dataclass(frozen=True)
class Origin:
    """Where weights are published: `files` of a `repository` on the Hugging Face hub, or a `url`.

    Any one of the files will do, the first is preferred. `revision` is a commit, branch or tag of the repository, '' is
    `main`.
    """

    repository: str = ''
    files: tuple[str, ...] = ()
    url: str = ''
    revision: str = ''

    @property
    def address(self) -> str:
        """The URL of the file to fetch."""
        if self.repository:
            return f'https://huggingface.co/{self.repository}/resolve/{self.revision or "main"}/{self.files[0]}'
        return self.url

    @property
    def ending(self) -> str:
        name = self.address.rpartition('/')[2]
        return next((ending for ending in ENDINGS if name.endswith(ending)), Path(name).suffix)

    def cached(self) -> Path | None:
        """Return the file in the cache of the hub (HF_HOME) or of torch (TORCH_HOME), None where there is none."""
        if not self.repository:
            path = torch_cache() / self.url.rpartition('/')[2]
            return path if self.url and path.is_file() else None
        from huggingface_hub import try_to_load_from_cache

        for file in self.files:
            found = try_to_load_from_cache(self.repository, file, revision=self.revision or None)
            if isinstance(found, str):
                return Path(found)
        return None

    def files_here(self) -> list[Path] | None:
        """Return the cached file as a list, None where there is none."""
        path = self.cached()
        return [path] if path else None

    def pinned(self) -> str:
        """Return the url, or the repository with the commit that the cache holds: `timm/resnet18.a1_in1k@<commit>`."""
        path = self.cached() if self.repository else None
        commit = commit_of(path) if path else ''
        return f'{self.repository}@{commit}' if commit else self.repository or self.url


@dataclass(frozen=True)
class Weights:
    """Which weights a backbone is asked for: those of a `file`, or the published ones at a `revision` ('' is `main`).

    `label` is what messages call the backbone, `shown` the file as the user gave it, `root` the folder of local checkpoints.
    A file fetched by hand is called `stem` ('' where there is no place for one), and `setting` is what must be bound to it,
    '' where it is found by its name.
    `megabytes` is the size of the published file, 0 where it is not known.
    """

    label: str
    root: Path | None = None
    stem: str = ''
    setting: str = ''
    file: Path | None = None
    shown: str = ''
    revision: str = ''
    megabytes: int = 0

    def unavailable(self, origin: Origin, error: Exception) -> InputError:
        """Return the error for published weights that could not be had: what to fetch, and where to put it."""
        reason = textwrap.shorten(_reason(error).splitlines()[0], 200, placeholder=' ...')
        if (path := origin.cached()) is not None:
            return InputError(f'{self.label}: its weights at {path} cannot be used ({reason}); fetch them again')
        missing = f'{self.label}: its pretrained weights are not in the local cache and could not be fetched'
        missing += f' ({"HF_HUB_OFFLINE is set" if is_offline() else reason})'
        if not self.stem:
            command = f'hf download {origin.repository}{f" --revision {self.revision}" if self.revision else ""}'
            return InputError(f'{missing}; run {command} where there is a network, and copy the cache (HF_HOME) from there')
        size = f' ({self.megabytes} MB)' if self.megabytes else ''
        file = f'{self.stem}{origin.ending}'
        place = str(self.root / file) if self.root else f'<weights_root>/{file} with --weights_root=<weights_root>'
        binding = f", and bind {self.setting} = '{file}'" if self.setting else ''
        return InputError(f'{missing}; fetch {origin.address}{size}, put it at {place}{binding}')


def _reason(error: BaseException) -> str:
    """Return what an error says, or that the hub cannot be reached where this is behind it: libraries guess much more."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OfflineModeIsEnabled):
        behind = behind.__cause__ or behind.__context__
    return str(behind or error).strip() or type(error).__name__


def open_weights(kind: str, argument: str, *, checkpoint: str, root: Path | None) -> tuple[str, Weights]:
    """Return what an open name such as `timm:<argument>` asks for: the argument without its `@revision`, and the weights.

    Raises:
      InputError: for a checkpoint and a revision at once.
    """
    label = f'{kind}:{argument}'
    argument, _, revision = argument.partition('@')
    return argument, Weights(
        label, root, stem=argument.replace('/', '-'), setting=f'{kind}.checkpoint', revision=revision,
        **of_checkpoint(label, checkpoint, root=root, revision=revision),
    )  # fmt: skip


def of_checkpoint(label: str, checkpoint: str, *, root: Path | None, revision: str) -> dict:
    """Return `file` and `shown` of the weights for a bound checkpoint, nothing for an unbound one.

    Raises:
      InputError: for a checkpoint and a revision at once.
    """
    if checkpoint and revision:
        raise InputError(
            f'{label}: expected a checkpoint or a revision of the published weights, got both ({checkpoint!r} and '
            f'{revision!r}); drop one'
        )
    return {'file': (root or Path('.')) / checkpoint, 'shown': checkpoint} if checkpoint else {}


def without_revisions(label: str, origin: Origin) -> InputError:
    """Return the error for a revision of weights that no repository of the hub holds."""
    place = origin.url or 'no published place'
    return InputError(f'{label}: its weights come from {place}, which has no revisions; drop the revision')


def local_file(name: str, root: Path | None) -> Path | None:
    """Return `<root>/<name><ending>` where such a file of weights lies there, else None."""
    found = (root / f'{name}{ending}' for ending in ENDINGS) if root else ()
    return next((path for path in found if path.is_file()), None)


def fetch(origin: Origin) -> Path:
    """Return the file of a url, from torch's cache or else fetched into it, with a progress line.

    Raises:
      OSError: if it is not there and cannot be fetched.
    """
    if (path := origin.cached()) is not None:
        return path
    if is_offline():
        raise OSError('HF_HUB_OFFLINE is set')
    from torch.hub import download_url_to_file

    path = torch_cache() / origin.url.rpartition('/')[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    download_url_to_file(origin.url, str(path), progress=True)
    return path


def commit_of(path: Path) -> str:
    """Return the commit under whose snapshot a file of the hub's cache lies, '' for any other file."""
    parts = path.parts
    return parts[-parts[::-1].index('snapshots')] if 'snapshots' in parts[:-1] else ''


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def torch_cache() -> Path:
    """Return the folder into which torch fetches weights, `torch.hub.get_dir()` / checkpoints, without importing torch."""
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(os.environ.get('TORCH_HOME') or f'{cache}/torch').expanduser() / 'hub' / 'checkpoints'
