"""Official archives: download with a checksum, and extraction in which nothing escapes the folder."""

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

# Give up after this many attempts in a row that bring no new byte.
_ATTEMPTS = 3
_CHUNK = 1 << 20


class _NeverToHttp(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, because not every dataset has a checksum."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith('https:') and not newurl.startswith('https:'):
            raise urllib.error.HTTPError(newurl, code, f'a redirect to {newurl}, which is not https', headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_NeverToHttp)

# ---- fetching ----------------------------------------------------------------------------------------------------------


def download(url: str, path: Path, *, sha256: str = '', md5: str = '') -> bool:
    """Download a file under a temporary name, check it, then rename it. A file that already exists is only checked.

    After a lost connection, the received bytes are kept as `.<name>.part` and the next call resumes from there.
    torchvision's downloader is not used: it falls back from https to http, writes under the final name and never resumes.

    Args:
      url: http, https or file.
      path: where to put the file; its folder is created.
      sha256: expected checksum, as hex digits.
      md5: the same, for files of which only the MD5 is published. Without either, any complete download is accepted.

    Returns:
      True if the file was downloaded, False if it existed already.

    Raises:
      InputError: if the file cannot be downloaded or its checksum is wrong.
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
                lock.unlink(missing_ok=True)  # while it is held: afterwards it might belong to another process
    except (OSError, http.client.HTTPException) as error:
        raise InputError(_unreachable(error, url, path, partial)) from error
    return True


def check_file(path: Path, *, sha256: str = '', md5: str = '', remedy: str) -> None:
    """Check an existing file against its published checksum.

    Raises:
      InputError: if the checksum is wrong; `remedy` says how to get the right file.
    """
    if problem := _wrong_checksum(path, sha256=sha256, md5=md5):
        raise InputError(f'{path}: {problem}; move it away and {remedy}')


def _unreachable(error: Exception, url: str, path: Path, partial: Path) -> str:
    reason = getattr(error, 'reason', None) or reason_of(error)
    if isinstance(error, OSError) and not isinstance(error, urllib.error.URLError) and error.filename:
        reason = f'{reason} ({error.filename})'  # a local problem, not one of the network
    begun = partial.stat().st_size if partial.exists() else 0
    kept = f'{begun:,} bytes are kept and the same command resumes from there' if begun else 'nothing was kept'
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
    """Download the rest of a file, resuming after every lost connection as long as the attempts still bring bytes."""
    vain = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            _append(url, partial, start=before, title=title)
            return
        except urllib.error.HTTPError:
            raise  # the server understood the request and refused it
        except (OSError, http.client.HTTPException):
            vain = 0 if partial.exists() and partial.stat().st_size > before else vain + 1
            if vain >= _ATTEMPTS or not partial.exists():
                raise


def _append(url: str, partial: Path, *, start: int, title: str) -> None:
    """Append the file from byte `start` on. Start from the first byte if the server does not support range requests."""
    headers = {'User-Agent': 'Mozilla/5.0', **({'Range': f'bytes={start}-'} if start else {})}
    try:
        response = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:  # no bytes beyond: the file is complete, or a different one; the checksum tells
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
            raise ConnectionError(f'the connection was lost after {file.tell():,} of {total:,} bytes')


# ---- extracting --------------------------------------------------------------------------------------------------------


def extract_safely(archive: Path, folder: Path, *, inside: str = '', nested: bool = False) -> None:
    """Extract a tar or zip archive into a new folder, completely or not at all.

    Args:
      archive: the file; a tar file may be compressed.
      folder: created by this call. Files go to a temporary folder beside it, which is renamed at the end.
      inside: folder inside the archive that becomes `folder`; '' for the whole archive.
      nested: the archive contains tar files; each is extracted into a folder of the same name.

    Raises:
      InputError: if a member or link would leave the folder, or the archive is damaged. Nothing is left behind.
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
        raise InputError(f'{archive}: expected a valid archive, got: {got}; move it away and fetch it again') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_there(made: Path, folder: Path) -> None:
    try:
        os.rename(made, folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster, with the same files
            raise


def _extract_tar(
    tar: tarfile.TarFile, folder: Path, *, archive: Path, members: Iterable[tarfile.TarInfo] | None = None
) -> None:
    """Extract all members, or the given ones. Refuse devices, and names or links that lead out of the folder."""
    if not hasattr(tarfile, 'data_filter'):
        raise InputError('expected a Python whose tarfile has safe filters (3.11.4 or newer); update Python')

    def keep_inside(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo:
        _check_name(archive, member.name)  # the filter would silently strip the slash of an absolute path
        if member.issym() or member.islnk():
            _check_name(archive, member.linkname)  # in older Pythons the filter follows chains of links out of the folder
        # file modes follow the umask, whatever the archive says; typeshed does not know this None
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
    total = len(members) if isinstance(members, Sized) else None  # the length of a tar file is known only at its end
    with progress(total=total, title=f'extracting {archive.name}', unit='file') as advance:
        for member in members:
            yield member
            advance()


def _check_name(archive: Path, name: str) -> None:
    """Refuse names that lead out of the folder, on any system."""
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or '..' in windows.parts:
        raise InputError(f'{archive}: expected members that stay inside the folder, got {name!r}; not extracted')
