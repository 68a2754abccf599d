"""Records: what goes in comes out, statistics worked by hand, and files that are no records."""

import contextlib
import json
import os
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from test_leaderboard import ORIGIN

from bench.core import disk
from bench.core.disk import safe_name
from bench.core.hashing import short_hash
from bench.core.types import Dataset, ProbeScore, Split
from bench.results import provenance
from bench.results.check import RecordError
from bench.results.make import failed_record, make_record
from bench.results.record import (
    SCHEMA_VERSION,
    Correct,
    DistilledFacts,
    MethodFacts,
    Seconds,
    Skipped,
    WorstGroup,
)
from bench.results.store import as_json, find, load, load_table, path_of, write

CELL = {
    'dataset': 'toy', 'method': 'random', 'source_backbone': 'any', 'eval_backbone': 'timm:a/b', 'ipc': 1, 'seed': 3,
    'protocol': 'ridge-v1', 'method_name': 'random', 'method_settings': {},
}  # fmt: skip
KEY = short_hash(CELL)
HARD = DistilledFacts(hash='d', bytes=9, kind='real', facts={})


def _dataset():
    names = ('ant', 'bee', 'cat')
    test = Split('test', (), np.array([0, 0, 1, 1]), names, 'te', np.array([0, 1, 0, 1]), ('land', 'sea'))
    train = Split('train', (), np.array([0, 1, 2, 2]), names, 'tr', np.array([0, 0, 0, 1]), ('land', 'sea'), ('x.jpg',))
    return Dataset('toy', train, test, 'MIT', 'made up')


def _record(rows=((1, 1, 0, 0), (1, 1, 1, 0)), cell=CELL, version=SCHEMA_VERSION, **changes):
    score = ProbeScore(np.array(rows, dtype=bool), None, {}, {'strength': np.float32(2), 'loss': float('nan')})
    arguments = {
        'cell': cell, 'protocol_hash': 'p', 'dataset': _dataset(), 'probe_seeds': range(len(rows)),
        'distilled': HARD, 'n_train_images': 3,
        'source_weights': None, 'eval_weights': 'w', 'seconds': Seconds(method=1.0, probe=2.0), 'peak_memory_mb': None,
        'device': 'cpu', 'provenance': ORIGIN,
    }  # fmt: skip
    return replace(make_record(score, **{**arguments, **changes}), schema_version=version)


def test_a_record_comes_back_as_it_was_written(tmp_path):
    record = _record()
    path = write(record, results_dir=tmp_path)
    assert path == tmp_path / 'records' / 'toy' / 'timm_a_b' / 'random' / f'{KEY}.json'
    assert load(path) == record == find(tmp_path, cell=CELL, key=KEY)
    assert find(tmp_path, cell=CELL, key='other') is None
    assert record.probe_facts == {'strength': 2.0, 'loss': 'nan'}
    assert record.skipped['train'] == Skipped(1, ['x.jpg'])


def test_statistics_worked_by_hand():
    record = _record()
    assert record.top1 == [0.5, 0.75] and record.mean == 0.625
    assert record.std == pytest.approx(0.25 / np.sqrt(2))
    assert record.ci95 == pytest.approx([0.625 - 12.7062047 * 0.125, 0.625 + 12.7062047 * 0.125])
    assert record.per_class == [1.0, 0.25, None]
    # land: images 0 and 2 -> (1 + 1/2) / 2; sea: images 1 and 3 -> (1 + 0) / 2; training sizes 3 and 1.
    assert [group.accuracy for group in record.per_group.groups] == [0.75, 0.5]
    assert record.per_group.worst == WorstGroup('sea', 0.5)
    assert record.per_group.adjusted_mean == pytest.approx((3 * 0.75 + 0.5) / 4)
    single = _record(rows=((1, 0, 0, 0),))
    assert single.std is None and single.ci95 is None


def test_correctness_bits_survive_packing():
    correct_RN = np.random.default_rng(0).random((5, 2003)) < 0.5
    np.testing.assert_array_equal(Correct.pack(correct_RN).unpack(), correct_RN)


def test_a_finished_record_is_not_overwritten(tmp_path):
    good, failed = _record(), failed_record(ValueError('NaN'), cell=CELL, protocol_hash='p')
    path = write(failed, results_dir=tmp_path)
    assert load(path).error.message == 'NaN'
    write(good, results_dir=tmp_path)
    assert load(path) == good
    write(_record(device='gpu'), results_dir=tmp_path)
    write(failed, results_dir=tmp_path, force=True)
    assert load(path) == good
    write(_record(device='gpu'), results_dir=tmp_path, force=True)
    assert load(path).device == 'gpu'


def test_a_damaged_file_in_the_way_is_not_touched(tmp_path):
    path = path_of(tmp_path, CELL, KEY)
    disk.write_atomic(path, 'notes')
    with pytest.raises(RecordError, match='damaged JSON'):
        write(_record(), results_dir=tmp_path, force=True)
    assert path.read_text() == 'notes'


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'file.json'
    disk.write_atomic(path, 'old')

    def crash(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', crash)
    with pytest.raises(KeyboardInterrupt):
        disk.write_atomic(path, 'new')
    assert path.read_text() == 'old' and [file.name for file in tmp_path.iterdir()] == ['file.json']


def test_a_record_of_version_1_says_nothing_of_labels_which_were_hard(tmp_path):
    record = _record()
    assert (record.schema_version, record.distilled.labels) == (4, 'hard')
    old = replace(
        record, schema_version=1, fingerprints=replace(record.fingerprints, contents=None),
        provenance=replace(record.provenance, version=None),
    )  # fmt: skip
    path = write(old, results_dir=tmp_path)
    assert '"labels"' not in path.read_text()
    assert load(path) == old
    assert list(load_table(tmp_path)[0]['labels']) == ['hard']
    write(record, results_dir=tmp_path)
    assert load(path) == old  # finished records stay, whatever their version


def test_records_of_every_schema_are_read_and_tell_facts_of_the_method(tmp_path):
    facts = MethodFacts(real=True, needs_backbone=False, needs_seed=True, needs_ipc=True)
    record = _record()
    assert record.method_facts == facts, 'of the method called random'
    told = _record(cell={**CELL, 'seed': 4}, method_facts=replace(facts, needs_seed=False))
    assert told.method_facts.needs_seed is False
    for version in (1, 2):
        path = write(_record(cell={**CELL, 'seed': version}, version=version), results_dir=tmp_path)
        assert 'method_facts' not in path.read_text() and load(path).method_facts == facts
    path = write(told, results_dir=tmp_path)
    table = load_table(tmp_path)[0].set_index('seed')
    assert table.needs_seed.to_dict() == {1: True, 2: True, 4: False} and table.real.all()
    path.write_text(path.read_text().replace('"real": true', '"real": 1'))
    with pytest.raises(RecordError, match="field method_facts.real is '1', expected true or false"):
        load(path)


def test_the_labels_of_a_set_are_in_its_record_and_those_of_a_failed_cell_in_its_settings(tmp_path):
    soft = replace(HARD, labels='soft')
    # the set tells, not the settings
    write(_record(distilled=soft), results_dir=tmp_path)
    for seed, settings in enumerate(({'soft_labels': True}, {'soft_labels': False}, {})):
        cell = {**CELL, 'seed': seed, 'method_settings': settings}
        write(failed_record(OSError('disk'), cell=cell, protocol_hash='p'), results_dir=tmp_path)
    assert load_table(tmp_path)[0].set_index('seed')['labels'].to_dict() == {3: 'soft', 0: 'soft', 1: 'hard', 2: 'hard'}


LABELLESS = {'hash': 'd', 'bytes': 9, 'kind': 'real', 'facts': {}}
BAD = {
    'cut off': (lambda record: json.dumps(record)[:-20], 'damaged JSON'),
    'binary': (lambda record: '\x00\x01', 'damaged JSON'),
    'NaN': (lambda record: json.dumps({**record, 'mean': float('nan')}), 'NaN is not a number'),
    'foreign': (lambda record: '{"name": "package.json"}', 'not a record'),
    'a list': (lambda record: '[1]', 'not a record'),
    'later version': (lambda record: json.dumps({**record, 'schema_version': 7}), 'schema version 7'),
    'no labels': (lambda record: json.dumps({**record, 'distilled': LABELLESS}), 'distilled.labels is missing'),
    'labels': (
        lambda record: json.dumps({**record, 'distilled': {**record['distilled'], 'labels': 'fuzzy'}}), "labels is 'fuzzy'"
    ),
    'status': (lambda record: json.dumps({**record, 'status': 'done'}), "'done'"),
    'missing field': (lambda record: json.dumps({**record, 'correct': {'n': 4}}), 'correct.bits is missing'),
    'wrong type': (lambda record: json.dumps({**record, 'cell': {**CELL, 'ipc': '1'}}), 'cell.ipc'),
    'percent': (lambda record: json.dumps({**record, 'top1': [50.0, 75.0]}), '50.0'),
    'no repeats': (lambda record: json.dumps({**record, 'top1': []}), 'empty'),
    'repeats differ': (lambda record: json.dumps({**record, 'top1': [0.5]}), 'number of repeats'),
    'renamed': (lambda record: json.dumps({**record, 'key': 'k9'}), 'k9'),
    'huge': (lambda record: json.dumps({**record, 'n_train_images': 10**40}), 'out of range'),
    'seconds': (lambda record: json.dumps({**record, 'seconds': {'method': 'long'}}), 'seconds.method'),
}


@pytest.mark.parametrize('kind', BAD)
def test_what_is_no_record_is_named_and_left_alone(tmp_path, kind):
    make, reason = BAD[kind]
    write(_record(cell={**CELL, 'seed': 4}), results_dir=tmp_path)
    path = path_of(tmp_path, CELL, KEY)
    content = make(as_json(_record(), version=4))
    path.write_text(content)
    with pytest.raises(RecordError) as caught:
        load(path)
    assert str(path) in str(caught.value) and reason in str(caught.value)
    table, problems = load_table(tmp_path)
    assert len(table) == 1 and len(problems) == 1 and '\n' not in problems[0]
    assert path.read_text() == content


@pytest.mark.parametrize('version', [3, 4])
def test_a_flipped_bit_is_noticed(tmp_path, version):
    record = _record(version=version)
    path = write(record, results_dir=tmp_path)
    whole, silent = path.read_bytes(), []
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 7
        path.write_bytes(flipped)
        with contextlib.suppress(RecordError):
            if load(path) != record:
                silent.append(position)
    if version == 4:
        assert silent == []
    else:  # earlier schemas have no digest, but what makes the cell and the score is checked
        told = [whole.rfind(b'\n', 0, position) for position in silent]
        names = {whole[start + 1 : whole.index(b':', start)].strip(b'" ').decode() for start in told}
        assert names.isdisjoint({'schema_version', 'key', 'cell', 'top1', 'status'}), names


def test_an_edited_record_is_named(tmp_path):
    path = write(_record(), results_dir=tmp_path)
    whole = json.loads(path.read_text())
    for change, reason in (
        ({'cell': {**whole['cell'], 'ipc': 10}}, 'its key is not the hash of its cell'),
        ({'top1': [0.75, 0.75]}, 'its accuracies are not those of its test images'),
        ({'device': 'a better one'}, 'its digest is not that of its content'),
    ):
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(RecordError, match=f'{reason}; the file is damaged or was edited'):
            load(path)


def test_a_copy_in_a_folder_of_another_cell_is_not_counted_twice(tmp_path):
    path = write(_record(), results_dir=tmp_path)
    copy = tmp_path / 'records' / 'toy' / 'timm_a_b' / 'old' / f'{KEY}.json'
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    table, problems = load_table(tmp_path)
    assert list(table['path']) == [str(path)] and str(copy) in problems[0]


def test_the_table_has_one_typed_row_per_record(tmp_path):
    write(_record(), results_dir=tmp_path)
    whole = {**CELL, 'ipc': None, 'method': 'full'}
    write(failed_record(OSError('disk'), cell=whole, protocol_hash='p'), results_dir=tmp_path)
    table, problems = load_table(tmp_path)
    assert problems == [] and list(table['status']) == ['failed', 'ok']
    assert table['ipc'].isna().tolist() == [True, False] and table['ipc'][1] == 1
    assert table['top1'][1] == [0.5, 0.75] and table['dataset_fingerprint'][1] == 'tr/te'
    assert table['error'][0] == 'OSError: disk'


def test_names_stay_inside_the_results_folder():
    assert safe_name('open_clip:ViT-B-16/openai') == 'open_clip_ViT-B-16_openai'
    assert '/' not in safe_name('../../etc') and not safe_name('..').startswith('.')


def test_provenance_is_plain_json():
    found = asdict(provenance.collect())
    assert json.loads(json.dumps(found)) == found and found['versions']['python']


def test_the_recorded_command_names_no_folder_of_ones_own(monkeypatch):
    own = ['--cache_dir=/home/me/cache', '--results_dir=/home/me/results']
    monkeypatch.setattr(sys, 'orig_argv', ['/usr/bin/python', '-m', 'bench.run', '--gin_file=gin/a.gin', *own])
    assert provenance.collect().command == 'python -m bench.run --gin_file=gin/a.gin'
