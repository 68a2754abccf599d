"""Downloads from a web server on this machine, and archives: cut connections, wrong checksums, ways out of the folder."""

import hashlib
import http.server
import io
import os
import re
import shutil
import stat
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from dataclasses import replace
from multiprocessing.pool import ThreadPool

import pytest
from conftest import ROOT

from bench.core.errors import InputError
from bench.datasets.published import archives, catalogue
from bench.datasets.published.archives import download, extract_safely
from tests import commands
from tests.miniatures import install

# --- downloads ----------------------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Files by address; `cut` tells after how many bytes each coming answer breaks off, `parts` whether it knows Range."""

    def __init__(self):
        self.files, self.cut, self.parts, self.asked = {'/file': CONTENT}, [], True, []

    def url(self, path='/file'):
        return f'http://127.0.0.1:{self.port}{path}'


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '*')
    facts = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content, wanted = facts.files.get(self.path), self.headers.get('Range')
            facts.asked.append((self.path, wanted))
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix('bytes=').removesuffix('-')) if wanted and facts.parts else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
            self.send_header('Content-Length', str(len(content) - start))
            self.end_headers()
            rest = content[start:]
            self.wfile.write(rest[: facts.cut.pop(0)] if facts.cut else rest)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        facts.port = running.server_port
        yield facts
        running.shutdown()


def test_a_file_is_checked_before_it_gets_its_name(tmp_path, server):
    target = tmp_path / 'below' / 'file.bin'
    with pytest.raises(InputError, match=f'expected a file of sha256 {"0" * 64}, got {SHA256}; try again'):
        download(server.url(), target, sha256='0' * 64)
    with pytest.raises(InputError, match=r'file.bin: expected to fetch it from .*/gone, got: Not Found.*put it at'):
        download(server.url('/gone'), target, sha256=SHA256)
    assert not list(target.parent.iterdir()), 'nothing of another file is kept'
    assert download(server.url(), target, sha256=SHA256) and target.read_bytes() == CONTENT
    assert not download('http://nowhere.invalid', target, md5=hashlib.md5(CONTENT).hexdigest())
    target.write_bytes(b'other')
    with pytest.raises(InputError, match='expected a file of sha256 .*move it away and fetch'):
        download(server.url(), target, sha256=SHA256)
    assert target.read_bytes() == b'other' and list(target.parent.iterdir()) == [target]


def test_a_cut_connection_is_taken_up_where_it_broke(tmp_path, server):
    server.cut = [1000, 0, 3000]
    assert download(server.url(), tmp_path / 'file.bin', sha256=SHA256)
    assert [wanted for _, wanted in server.asked] == [None, 'bytes=1000-', 'bytes=1000-', 'bytes=4000-']
    assert (tmp_path / 'file.bin').read_bytes() == CONTENT and len(list(tmp_path.iterdir())) == 1


def test_what_was_brought_is_kept_for_the_next_call(tmp_path, server):
    server.cut = [1000, 0, 0, 0, 0]
    with pytest.raises(InputError, match='lost after 1,000 of 10,240 bytes; 1,000 bytes are kept and the same'):
        download(server.url(), tmp_path / 'file.bin', sha256=SHA256)
    assert [path.name for path in tmp_path.iterdir()] == ['.file.bin.part']
    server.cut, server.asked = [], []
    assert download(server.url(), tmp_path / 'file.bin', sha256=SHA256)
    assert server.asked == [('/file', 'bytes=1000-')] and (tmp_path / 'file.bin').read_bytes() == CONTENT


def test_a_server_that_knows_no_parts_starts_anew(tmp_path, server):
    server.cut, server.parts = [1000], False
    assert download(server.url(), tmp_path / 'file.bin', sha256=SHA256)
    assert (tmp_path / 'file.bin').read_bytes() == CONTENT


def test_a_part_that_is_whole_or_of_another_file_is_told_by_the_checksum(tmp_path, server):
    (tmp_path / '.file.bin.part').write_bytes(CONTENT)
    assert download(server.url(), tmp_path / 'file.bin', sha256=SHA256)
    (tmp_path / 'file.bin').unlink()
    (tmp_path / '.file.bin.part').write_bytes(b'x' * 1000)
    with pytest.raises(InputError, match='expected a file of sha256'):
        download(server.url(), tmp_path / 'file.bin', sha256=SHA256)
    assert download(server.url(), tmp_path / 'file.bin', sha256=SHA256), 'the wrong part is gone'


def test_a_redirect_from_https_to_http_is_refused():
    handler, request = archives._NeverToHttp(), urllib.request.Request('https://here/a')
    assert handler.redirect_request(request, None, 302, '', {}, 'https://there/a').full_url == 'https://there/a'
    with pytest.raises(urllib.error.HTTPError, match='not https'):
        handler.redirect_request(request, None, 302, '', {}, 'http://there/a')


def test_two_processes_fetch_a_file_once(tmp_path, server):
    with ThreadPool(4) as pool:
        fetched = pool.map(lambda _: download(server.url(), tmp_path / 'file.bin', sha256=SHA256), range(4))
    assert sorted(fetched) == [False, False, False, True] and len(server.asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['file.bin']


# --- python -m bench.data ----------------------------------------------------------------------------------------------


@pytest.fixture
def bench_data(tmp_path):
    """Run `python -m bench.data` in this process; returns status, output and errors."""

    def command(*words):
        places = [f'--data_root={tmp_path / "data"}', f'--cache_dir={tmp_path / "cache"}']
        done = commands.run('bench.data', *words, *places)
        return done.status, done.out, done.err

    return command


@pytest.fixture
def served(tmp_path, server, monkeypatch):
    """Serve a miniature's official archives at the addresses of its entry."""

    def serve(name):
        (tmp_path / 'data').mkdir(exist_ok=True)
        install(name, tmp_path / 'data', monkeypatch)
        files = []
        for number, file in enumerate(catalogue.CATALOGUE[name].files):
            path = tmp_path / 'data' / file.path
            server.files[f'/{name}/{number}'] = path.read_bytes()
            path.unlink()
            files.append(replace(file, url=server.url(f'/{name}/{number}')))
        monkeypatch.setitem(catalogue.CATALOGUE, name, replace(catalogue.CATALOGUE[name], files=tuple(files)))

    return serve


def test_list_names_every_dataset_with_its_licence(bench_data):
    status, out, err = bench_data('list')
    assert (status, err) == (0, '')
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert set(lines) == {'name', *catalogue.CATALOGUE}
    for name, entry in catalogue.CATALOGUE.items():
        assert entry.licence in lines[name] and entry.licence_url in lines[name]
    assert '1.15 GB' in lines['cub200'] and '5,994' in lines['cub200'] and 'by hand' in lines['imagenet1k']


def test_the_documented_table_is_that_of_the_catalogue(bench_data, tmp_path):
    committed = (ROOT / 'docs' / 'datasets.md').read_text(encoding='utf-8')
    (tmp_path / 'datasets.md').write_text(committed, encoding='utf-8')
    assert bench_data('list', f'--into={tmp_path / "datasets.md"}') == (0, '', '')
    assert (tmp_path / 'datasets.md').read_text(encoding='utf-8') == committed


@pytest.mark.parametrize('name', ['cub200', 'flowers102', 'stanford_dogs', 'eurosat', 'waterbirds'])
def test_prepare_fetches_verifies_and_extracts(name, bench_data, served, server, tmp_path):
    served(name)
    status, out, _ = bench_data('check', name)
    assert status == 1 and 'absent' in out and server.url(f'/{name}/0') in out
    server.cut = [100, 100]
    status, out, err = bench_data('prepare', name)
    assert (status, err) == (0, '') and out.startswith(f'{name}: ') and 'licence: ' in out
    kept = {path.name for path in (tmp_path / 'data').rglob('*') if path.suffix in ('.tgz', '.tar', '.zip', '.gz', '.part')}
    assert not kept, 'archives go once they are extracted'
    asked = len(server.asked)
    assert bench_data('check', name)[0] == 0 and bench_data('prepare', name)[0] == 0 and len(server.asked) == asked


def test_list_takes_names(bench_data):
    assert [line.split()[0] for line in bench_data('list', 'dtd', 'cub200')[1].splitlines()] == ['name', 'dtd', 'cub200']


def test_prepare_goes_on_with_the_other_datasets_and_ends_with_2(bench_data, served, server, monkeypatch, tmp_path):
    served('cub200')
    served('waterbirds')
    server.files['/cub200/0'] = b'something else'
    status, out, err = bench_data('prepare', 'cub200', 'waterbirds', 'imagenet1k')
    assert status == 2 and out.startswith('waterbirds: ') and len(err.splitlines()) == 2
    assert 'cub200/0: expected a file of md5' in err
    assert 'imagenet1k: expected' in err and 'accept the terms at https://image-net.org/download.php' in err
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['waterbird_complete95_forest2water2']


@pytest.mark.parametrize(
    'words, message',
    [
        ([], 'expected python -m bench.data list [names], check [names] or prepare names..., got \'nothing\''),
        (['prepare'], 'got \'prepare\''),
        (['fetch', 'cub200'], 'got \'fetch cub200\''),
        (['check', 'cub20'], "unknown dataset 'cub20'; did you mean cub200"),
    ],
)
def test_a_mistake_ends_in_one_line(words, message, bench_data, tmp_path):
    status, out, err = bench_data(*words)
    assert status == 2 and not out and message in err and len(err.splitlines()) == 1 and not (tmp_path / 'data').exists()


def test_a_file_where_a_folder_belongs_and_the_reverse_end_in_one_line(bench_data, served, tmp_path):
    (tmp_path / 'data').write_text('no folder')
    status, out, err = bench_data('prepare', 'cub200')
    assert (status, out, len(err.splitlines())) == (2, '', 1)
    assert f'--data_root={tmp_path / "data"}: expected a folder that exists or can be created, got: file exists' in err
    (tmp_path / 'data').unlink()
    for name in ('cub200', 'stanford_dogs', 'eurosat'):
        served(name)
    (tmp_path / 'data' / 'CUB_200_2011').write_text('no folder')
    for folder in (tmp_path / 'data' / 'stanford_dogs', tmp_path / 'data' / 'eurosat'):
        shutil.rmtree(folder)
    (tmp_path / 'data' / 'stanford_dogs').write_text('no folder')
    (tmp_path / 'data' / 'eurosat' / 'EuroSAT.zip').mkdir(parents=True)
    status, out, err = bench_data('prepare', 'cub200', 'stanford_dogs', 'eurosat')
    assert (status, out, len(err.splitlines())) == (2, '', 3)
    for said in (
        'cub200: expected to extract .*CUB_200_2011.tgz to .*, got: a file of that name; move that away',
        'images.tar: expected to fetch it from .*, got: file exists .*/data/stanford_dogs.; nothing was kept',
        'EuroSAT.zip: expected a file, got a folder; move it away and fetch',
    ):
        assert re.search(said, err)


# --- archives -----------------------------------------------------------------------------------------------------------


def make_archive(path, entries):
    """Write a tar or zip archive of (name, link target or None)."""
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w') as zipped:
            for name, link in entries:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (stat.S_IFLNK if link else stat.S_IFREG | 0o644) << 16
                zipped.writestr(entry, link or 'text')
        return path
    with tarfile.open(path, 'w:gz') as tar:
        for name, link in entries:
            entry = tarfile.TarInfo(name)
            if link:
                entry.type, entry.linkname = tarfile.SYMTYPE, link
                tar.addfile(entry)
            else:
                entry.size = 4
                tar.addfile(entry, io.BytesIO(b'text'))
    return path


EVIL_NAMES = ('../out.txt', '/out.txt', 'a/../../out.txt', 'C:\\out.txt')


@pytest.mark.parametrize('suffix', ['.tgz', '.zip'])
@pytest.mark.parametrize('evil', [*((name, None) for name in EVIL_NAMES), ('a/link', '../..'), ('a/link', '/etc')])
def test_archives_that_lead_out_are_refused(tmp_path, suffix, evil):
    archive = make_archive(tmp_path / f'evil{suffix}', [('a/fine.txt', None), evil])
    with pytest.raises(InputError, match=f'evil{suffix}: expected'):
        extract_safely(archive, tmp_path / 'data' / 'set')
    assert not list((tmp_path / 'data').iterdir()) and sorted(tmp_path.iterdir()) == [tmp_path / 'data', archive]


@pytest.mark.parametrize('suffix', ['.tgz', '.zip'])
def test_archives_are_extracted_whole_or_not_at_all(tmp_path, suffix):
    archive = make_archive(tmp_path / f'fine{suffix}', [('set/a/1.txt', None), ('other.txt', None)])
    extract_safely(archive, tmp_path / 'data' / 'set', inside='set')
    assert (tmp_path / 'data' / 'set' / 'a' / '1.txt').read_text() == 'text'
    extract_safely(archive, tmp_path / 'data' / 'all')
    assert sorted(path.name for path in (tmp_path / 'data' / 'all').iterdir()) == ['other.txt', 'set']
    with pytest.raises(InputError, match="expected a folder 'missing' inside"):
        extract_safely(archive, tmp_path / 'data' / 'missing', inside='missing')
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(InputError, match='expected a valid archive'):
        extract_safely(archive, tmp_path / 'data' / 'cut')
    assert sorted(path.name for path in (tmp_path / 'data').iterdir()) == ['all', 'set']


@pytest.mark.parametrize('suffix', ['tar', 'zip'])
def test_extracted_files_may_be_read_as_the_umask_says(tmp_path, suffix):
    (tmp_path / 'top' / 'a').mkdir(parents=True)
    (tmp_path / 'top' / 'a' / 'x.txt').write_text('x')
    (tmp_path / 'top' / 'a' / 'x.txt').chmod(0o600)
    (tmp_path / 'top').chmod(0o700)
    archive = shutil.make_archive(str(tmp_path / 'archive'), suffix, tmp_path, 'top')
    before = os.umask(0o027)
    try:
        extract_safely(tmp_path / archive, tmp_path / 'out', inside='top')
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / 'out', *(tmp_path / 'out').rglob('*'))}
    assert found == {'out': 0o750, 'a': 0o750, 'x.txt': 0o640}


def tar_with_link(path, kind, name, target):
    """Write a tar of `a/fine.txt` and one link, of tarfile's `kind`."""
    tar_of(path, ('a/fine.txt', b'1'))
    with tarfile.open(path, 'a') as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, target
        tar.addfile(entry)
    return path


@pytest.mark.parametrize('nested', [False, True], ids=['plain', 'tar of tars'])
@pytest.mark.parametrize(
    'kind, name, target',
    [
        (tarfile.SYMTYPE, 'a/b', 'c/../../..'), (tarfile.SYMTYPE, 'a/b', '..'), (tarfile.SYMTYPE, 'b', '/etc'),
        (tarfile.LNKTYPE, 'a/b', '../../out.txt'), (tarfile.LNKTYPE, 'a/b', 'a/../../../out.txt'),
        (tarfile.LNKTYPE, 'b', '/etc/hostname'), (tarfile.CHRTYPE, 'null', ''), (tarfile.FIFOTYPE, 'pipe', ''),
    ],
)  # fmt: skip
def test_links_out_and_devices_are_refused(tmp_path, kind, name, target, nested):
    archive = tar_with_link(tmp_path / 'evil.tar', kind, name, target)
    if nested:
        archive = tar_of(tmp_path / 'evil.tar', ('n01.tar', archive.read_bytes()))
    with pytest.raises(InputError, match='evil.tar: expected'):
        extract_safely(archive, tmp_path / 'data' / 'set', nested=nested)
    assert not list((tmp_path / 'data').iterdir()) and sorted(tmp_path.iterdir()) == [tmp_path / 'data', archive]


def test_links_are_not_followed_out_whatever_the_filter_lets_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(archives.tarfile, 'data_filter', lambda member, _: member)
    archive = tar_with_link(tmp_path / 'evil.tar', tarfile.SYMTYPE, 'a/up', 'x/../..')
    with pytest.raises(InputError, match=r"evil.tar: expected members that stay inside the folder, got 'x/../..'"):
        extract_safely(archive, tmp_path / 'data' / 'set')
    inside = tar_with_link(tmp_path / 'fine.tar', tarfile.SYMTYPE, 'a/link.txt', 'fine.txt')
    extract_safely(inside, tmp_path / 'data' / 'set')
    assert (tmp_path / 'data' / 'set' / 'a' / 'link.txt').read_text() == '1'


def tar_of(path, *members):
    with tarfile.open(path, 'w') as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_a_tar_of_tars_becomes_a_folder_for_each(tmp_path):
    inner = tar_of(tmp_path / 'inner.tar', ('a_1.JPEG', b'1'), ('a_2.JPEG', b'2')).read_bytes()
    outer = tar_of(tmp_path / 'outer.tar', ('n01.tar', inner), ('n02.tar', inner))
    extract_safely(outer, tmp_path / 'train', nested=True)
    found = sorted(str(path.relative_to(tmp_path / 'train')) for path in (tmp_path / 'train').rglob('*.JPEG'))
    assert found == ['n01/a_1.JPEG', 'n01/a_2.JPEG', 'n02/a_1.JPEG', 'n02/a_2.JPEG']


@pytest.mark.parametrize(
    'name, inner', [('../n03.tar', 'a'), ('n03.tar', '../../a'), ('n03.tar', '/a'), ('n03.txt', 'a'), ('..tar', 'a')]
)
def test_a_tar_of_tars_that_leads_out_is_refused(tmp_path, name, inner):
    content = tar_of(tmp_path / 'inner.tar', (inner, b'1')).read_bytes()
    outer = tar_of(tmp_path / 'outer.tar', (name, content))
    with pytest.raises(InputError, match='outer.tar: expected'):
        extract_safely(outer, tmp_path / 'data' / 'train', nested=True)
    assert not list((tmp_path / 'data').iterdir())
    twice = tar_of(tmp_path / 'twice.tar', ('n03.tar', b'\0' * 10240), ('n03.tar', b'\0' * 10240))
    with pytest.raises(InputError, match="twice.tar: expected tar files of different names, got 'n03.tar'"):
        extract_safely(twice, tmp_path / 'data' / 'train', nested=True)


def test_an_archive_without_safe_filters_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(archives.tarfile, 'data_filter')
    with pytest.raises(InputError, match='whose tarfile has safe filters'):
        extract_safely(tar_of(tmp_path / 'a.tar', ('a', b'1')), tmp_path / 'data')
