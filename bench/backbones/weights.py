"""Weights files: where they are published, and where they are on this machine. Imports neither torch nor a model library."""

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import InputError

# file extensions of weights
ENDINGS = ('.safetensors', '.pth.tar', '.pth', '.pt', '.bin')


@dataclass(frozen=True)
class Origin:
    """Where weights are published: `files` of a `repository` on the Hugging Face hub, or a `url`.

    Any one of the files is enough; earlier ones are preferred. `revision` is a commit, branch or tag of the repository; ''
    means `main`.
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
        """Return the file in the hub's cache (HF_HOME) or in torch's (TORCH_HOME), or None if it is not cached."""
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
        """Return the cached file as a list, or None if it is not cached."""
        path = self.cached()
        return [path] if path else None

    def pinned(self) -> str:
        """Return the url, or the repository with the cached commit: `timm/resnet18.a1_in1k@<commit>`."""
        path = self.cached() if self.repository else None
        commit = commit_of(path) if path else ''
        return f'{self.repository}@{commit}' if commit else self.repository or self.url


@dataclass(frozen=True)
class Weights:
    """The weights requested for a backbone: those in a `file`, or the published ones at a `revision` ('' means `main`).

    `label` is the backbone's name in messages, `shown` the file as the user gave it, `root` the folder of local checkpoints.
    `stem` is the name, without extension, for a file that was downloaded by hand ('' if such a file cannot be used).
    `setting` is the setting that must be bound to that file, '' if the file is found by its name. `megabytes` is the size of
    the published file, 0 if unknown.
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
        """Return the error for published weights that could not be loaded: it says what to download and where to put it."""
        reason = textwrap.shorten(_reason(error).splitlines()[0], 200, placeholder=' ...')
        if (path := origin.cached()) is not None:
            return InputError(f'{self.label}: its weights at {path} cannot be used ({reason}); fetch them again')
        missing = f'{self.label}: its pretrained weights are not in the local cache and could not be fetched'
        missing += f' ({"HF_HUB_OFFLINE is set" if is_offline() else reason})'
        if not self.stem:
            command = f'hf download {origin.repository}{f" --revision {self.revision}" if self.revision else ""}'
            return InputError(f'{missing}; run {command} on a machine with a network, and copy its cache (HF_HOME)')
        size = f' ({self.megabytes} MB)' if self.megabytes else ''
        file = f'{self.stem}{origin.ending}'
        target = str(self.root / file) if self.root else f'<weights_root>/{file} with --weights_root=<weights_root>'
        binding = f", and bind {self.setting} = '{file}'" if self.setting else ''
        return InputError(f'{missing}; fetch {origin.address}{size}, put it at {target}{binding}')


def _reason(error: BaseException) -> str:
    """Return the message of an error, or of the offline error that caused it, which is clearer than a library's guesses."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OfflineModeIsEnabled):
        behind = behind.__cause__ or behind.__context__
    return str(behind or error).strip() or type(error).__name__


def open_weights(kind: str, argument: str, *, checkpoint: str, root: Path | None) -> tuple[str, Weights]:
    """Parse an open name such as `timm:<argument>`; return the argument without its `@revision`, and the weights.

    Raises:
      InputError: if both a checkpoint and a revision are given.
    """
    label = f'{kind}:{argument}'
    argument, _, revision = argument.partition('@')
    return argument, Weights(
        label, root, stem=argument.replace('/', '-'), setting=f'{kind}.checkpoint', revision=revision,
        **of_checkpoint(label, checkpoint, root=root, revision=revision),
    )  # fmt: skip


def of_checkpoint(label: str, checkpoint: str, *, root: Path | None, revision: str) -> dict:
    """Return the fields `file` and `shown` of `Weights` for a bound checkpoint, {} if none is bound.

    Raises:
      InputError: if both a checkpoint and a revision are given.
    """
    if checkpoint and revision:
        raise InputError(
            f'{label}: expected a checkpoint or a revision of the published weights, got both ({checkpoint!r} and '
            f'{revision!r}); drop one'
        )
    return {'file': (root or Path('.')) / checkpoint, 'shown': checkpoint} if checkpoint else {}


def without_revisions(label: str, origin: Origin) -> InputError:
    """Return the error for a revision of weights that are not in a repository on the hub."""
    address = origin.url or 'no published address'
    return InputError(f'{label}: its weights come from {address}, which has no revisions; drop the revision')


def local_file(name: str, root: Path | None) -> Path | None:
    """Return the file `<root>/<name><ending>` if there is one, else None."""
    found = (root / f'{name}{ending}' for ending in ENDINGS) if root else ()
    return next((path for path in found if path.is_file()), None)


def fetch(origin: Origin) -> Path:
    """Return the file of a url from torch's cache; download it with a progress line if it is not there.

    Raises:
      OSError: if it is not cached and cannot be downloaded.
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
    """Return the commit of a file in the hub's cache, '' for any other file."""
    parts = path.parts
    return parts[-parts[::-1].index('snapshots')] if 'snapshots' in parts[:-1] else ''


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def torch_cache() -> Path:
    """Return the folder of torch's downloads, `torch.hub.get_dir()` / checkpoints, without importing torch."""
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(os.environ.get('TORCH_HOME') or f'{cache}/torch').expanduser() / 'hub' / 'checkpoints'
