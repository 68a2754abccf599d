"""Official archives: fetched with their checksum, extracted so that nothing leaves the folder."""

import gzip
import hashlib
import http.client
import os
import secrets
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from filelock import FileLock

from bench.core.errors import InputError, reason_of
from bench.core.progress import progress

# A cut connection is taken up again this often in a row without a byte gained.
_ATTEMPTS = 3
_CHUNK = 1 << 20


class _NeverToHttp(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to http: not every dataset has a checksum."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith('https:') and not newurl.startswith('https:'):
            raise urllib.error.HTTPError(newurl, code, f'a redirect to {newurl}, which is not https', headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_NeverToHttp)

# ---- fetching ----------------------------------------------------------------------------------------------------------


def download(url: str, path: Path, *, sha256: str = '', md5: str = '') -> bool:
    """Fetch a file, unless it is there: under a temporary name, checked, then renamed.

    What a cut connection has brought is kept as `.<name>.part`; the same call goes on from there. Not torchvision's
    downloader, because that one falls back from https to http, writes under the final name and starts anew.

    Args:
      url: http, https or file.
      path: where the file shall be; the folder is made.
      sha256: checksum to demand, as hex digits; or
      md5: likewise, where only this one is published. Without either, whatever comes whole is taken.

    Returns:
      Whether it was fetched, rather than there already.

    Raises:
      InputError: where the file cannot be fetched or has another checksum.
    """
    if path.exists():
        check_file(path, sha256=sha256, md5=md5, remedy=f'fetch {url}')
        return False
    partial = path.with_name(f'.{path.name}.part')
    lock = path.with_name(f'.{path.name}.lock')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            try:
                if path.exists():  # another process was faster
                    return False
                _fetch(url, partial, title=path.name)
                if problem := _wrong_checksum(partial, sha256=sha256, md5=md5):
                    partial.unlink()
                    raise InputError(f'{url}: {problem}; try again, or put the official file at {path} by hand')
                os.replace(partial, path)
            finally:
                lock.unlink(missing_ok=True)  # while it is held: later, it might be another process's
    except (OSError, http.client.HTTPException) as error:
        raise InputError(_unreachable(error, url, path, partial)) from error
    return True


def check_file(path: Path, *, sha256: str = '', md5: str = '', remedy: str) -> None:
    """Check a file that is there against its published checksum.

    Raises:
      InputError: for another file; `remedy` says how to get the right one.
    """
    if problem := _wrong_checksum(path, sha256=sha256, md5=md5):
        raise InputError(f'{path}: {problem}; move it away and {remedy}')


def _unreachable(error: Exception, url: str, path: Path, partial: Path) -> str:
    reason = getattr(error, 'reason', None) or reason_of(error)
    if isinstance(error, OSError) and not isinstance(error, urllib.error.URLError) and error.filename:
        reason = f'{reason} ({error.filename})'  # nothing is wrong with the network
    begun = partial.stat().st_size if partial.exists() else 0
    kept = f'{begun:,} bytes are kept and the same command goes on from there' if begun else 'nothing was kept'
    return (
        f'{path.name}: expected to fetch it from {url}, got: {reason}; {kept}; '
        f'without a network, fetch it elsewhere and put it at {path}'
    )


def _wrong_checksum(path: Path, *, sha256: str, md5: str) -> str:
    """Return what is wrong with a file's checksum, or ''."""
    if not path.is_file():
        return 'expected a file, got a folder'
    kind, wanted = ('sha256', sha256) if sha256 else ('md5', md5)
    if not wanted:
        return ''
    with open(path, 'rb') as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    return '' if found == wanted else f'expected a file of {kind} {wanted}, got {found}'


def _fetch(url: str, partial: Path, *, title: str) -> None:
    """Bring the rest of a file, however often the connection is cut, as long as each attempt gains something."""
    vain = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            _append(url, partial, start=before, title=title)
            return
        except urllib.error.HTTPError:
            raise  # the server has understood and refuses
        except (OSError, http.client.HTTPException):
            vain = 0 if partial.exists() and partial.stat().st_size > before else vain + 1
            if vain >= _ATTEMPTS or not partial.exists():
                raise


def _append(url: str, partial: Path, *, start: int, title: str) -> None:
    """Write what the address holds from byte `start` on; from the first where the server does not know parts."""
    headers = {'User-Agent': 'Mozilla/5.0', **({'Range': f'bytes={start}-'} if start else {})}
    try:
        response = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:  # nothing lies beyond: it is whole, or another file; the checksum tells
            return
        raise
    with response, open(partial, 'ab') as file:
        if start and not response.headers.get('Content-Range', '').startswith(f'bytes {start}-'):
            start = 0
            file.truncate(0)
        length = response.headers.get('Content-Length')
        total = start + int(length) if length else None
        with progress(total=total, title=title, unit='B', start=start) as advance:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                advance(len(chunk))
        if total is not None and file.tell() < total:
            raise ConnectionError(f'the connection was cut after {file.tell():,} of {total:,} bytes')


# ---- extracting --------------------------------------------------------------------------------------------------------


def extract_safely(archive: Path, folder: Path, *, inside: str = '', nested: bool = False) -> None:
    """Extract a tar or zip archive into a new folder, all of it or nothing.

    Args:
      archive: the file; tar may be compressed.
      folder: made by this call: the files go to a temporary folder beside it, which is renamed at the end.
      inside: the folder of the archive that becomes `folder`; '' for the whole archive.
      nested: the archive holds tar files, each of which becomes a folder of its own name.

    Raises:
      InputError: for an entry or link that would leave the folder, or a damaged archive. Nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f'.{folder.name}-{os.getpid()}-{secrets.token_hex(4)}')
    temporary.mkdir()
    try:
        if nested:
            _extract_tar_of_tars(archive, temporary)
        elif zipfile.is_zipfile(archive):
            _extract_zip(archive, temporary)
        else:
            with tarfile.open(archive) as tar:
                _extract_tar(tar, temporary, archive=archive, members=_with_progress(tar, archive))
        made = temporary / inside
        if not made.is_dir():
            raise InputError(f'{archive}: expected a folder {inside!r} inside, got {sorted(os.listdir(temporary))[:5]}')
        _rename_unless_there(made, folder)
    except (tarfile.TarError, zipfile.BadZipFile, RuntimeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        got = reason_of(error)
        raise InputError(f'{archive}: expected a sound archive, got: {got}; move it away and fetch it again') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_there(made: Path, folder: Path) -> None:
    try:
        os.rename(made, folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, with the same files
            raise


def _extract_tar(
    tar: tarfile.TarFile, folder: Path, *, archive: Path, members: Iterable[tarfile.TarInfo] | None = None
) -> None:
    """Extract all members, or these, refusing names and links that lead out of the folder, and devices."""
    if not hasattr(tarfile, 'data_filter'):
        raise InputError('expected a Python whose tarfile has safe filters (3.11.4 or newer); update Python')

    def keep_inside(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo:
        _check_name(archive, member.name)  # the filter would quietly take the slash off an absolute path
        if member.issym() or member.islnk():
            _check_name(archive, member.linkname)  # in older Pythons the filter follows chains of links out of the folder
        # files are made as the umask says, whatever the archive does; typeshed does not know this None
        return tarfile.data_filter(member, destination).replace(mode=None, deep=False)  # type: ignore[arg-type]

    tar.extractall(folder, members=members, filter=keep_inside)


def _extract_tar_of_tars(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as outer:
        for member in _with_progress(outer, archive):
            _check_name(archive, member.name)
            content = outer.extractfile(member)
            if content is None or PurePosixPath(member.name).suffix != '.tar':
                raise InputError(f'{archive}: expected tar files only, got {member.name!r}; not extracted')
            with tarfile.open(fileobj=content) as inner:
                target = folder / PurePosixPath(member.name).stem
                if target.exists():
                    raise InputError(f'{archive}: expected tar files of different names, got {member.name!r}; not extracted')
                target.mkdir()
                _extract_tar(inner, target, archive=archive)


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for entry in zipped.infolist():
            _check_name(archive, entry.filename)
            if stat.S_ISLNK(entry.external_attr >> 16):
                got = f'the link {entry.filename!r}'
                raise InputError(f'{archive}: expected files and folders only, got {got}; not extracted')
        zipped.extractall(folder, members=_with_progress(zipped.infolist(), archive))


def _with_progress(members: Iterable[Any], archive: Path) -> Iterator[Any]:
    total = len(members) if isinstance(members, Sized) else None  # a tar file knows at its end
    with progress(total=total, title=f'extracting {archive.name}', unit='file') as advance:
        for member in members:
            yield member
            advance()


def _check_name(archive: Path, name: str) -> None:
    """Refuse names that lead out of the folder, on any system."""
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or '..' in windows.parts:
        raise InputError(f'{archive}: expected entries that stay inside the folder, got {name!r}; not extracted')
