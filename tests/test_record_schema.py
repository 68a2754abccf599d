"""The description of records in docs/ is that of the class, and every committed record fits it.

After a wanted change of the class: `python -m tests.test_record_schema` writes docs/ anew; read the difference.
"""

import copy
import json
import re

import pytest
from jsonschema import Draft202012Validator

from bench.core.paths import ROOT
from bench.results import schema
from bench.results.check import parse
from bench.results.record import Record
from bench.results.store import as_json, dumps

DOCS = ROOT / 'docs'
COMMITTED = sorted((ROOT / 'results' / 'records').rglob('*.json'))
# of schemas 1 and 2, from before the records were made again
OLD = sorted((ROOT / 'tests' / 'old_records').glob('*.json'))
GOLDEN = sorted((ROOT / 'tests' / 'golden' / 'records').rglob('*.json'))


@pytest.fixture(scope='module')
def committed():
    return {path: json.loads(path.read_text(encoding='utf-8')) for path in [*COMMITTED, *OLD]}


@pytest.fixture(scope='module')
def validator():
    made = json.loads((DOCS / 'record.schema.json').read_text(encoding='utf-8'))
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def test_the_description_in_docs_is_that_of_the_class(tmp_path):
    (tmp_path / 'record.md').write_bytes((DOCS / 'record.md').read_bytes())
    schema.write(tmp_path)
    for name in ('record.md', 'record.schema.json'):
        assert (tmp_path / name).read_bytes() == (DOCS / name).read_bytes(), 'python -m tests.test_record_schema'


def test_every_field_is_documented():
    for part in schema.parts(Record):
        assert schema.documentation(part).keys() == part.__dataclass_fields__.keys()
        assert all(text.endswith('.') for text in schema.documentation(part).values())


def test_every_committed_record_is_read_and_written_again_with_nothing_lost(committed):
    assert len(committed) > 700
    for path, content in committed.items():
        record = parse(content)
        assert json.loads(dumps(record)) == content, path


def test_committed_records_say_where_they_come_from_and_can_be_made_again():
    for path in COMMITTED:
        record = parse(json.loads(path.read_text(encoding='utf-8')))
        origin = record.provenance
        assert origin.commit and origin.dirty is False and origin.cpu and origin.threads, path
        file = re.search(r'--gin_file=(\S+)', origin.command)
        assert file and (ROOT / file[1]).is_file(), path


def test_committed_records_of_every_version_fit_the_schema(committed, validator):
    """A sample, because the package takes a second for a hundred of them."""
    samples = {version: [c for c in committed.values() if c['schema_version'] == version] for version in (1, 2)}
    golden = [json.loads(path.read_text(encoding='utf-8')) for path in GOLDEN]
    assert {content['status'] for content in golden} == {'ok', 'failed'}
    for content in [*samples[1][::3], *samples[2][::20], *golden]:
        validator.validate(content)


def spoilt(content, path, value):
    """Return a copy with another value at a dotted path; without the field where the value is `...`."""
    made = copy.deepcopy(content)
    *above, name = path.split('.')
    place = made
    for step in above:
        place = place[step]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return made


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ('top1', None), ('top1', [50.0]), ('top1', 'all'), ('mean', -0.1), ('n_test', 2.5), ('cell.ipc', '1'),
        ('cell.ipc', -1), ('correct.bits', ...), ('gin', ...), ('distilled.labels', ...), ('distilled.labels', 'fuzzy'),
        ('status', 'done'),
        ('status', 'failed'), ('seconds.method', 'long'), ('peak_memory_mb', -1), ('ci95', [0.1]), ('note', 'mine'),
        ('provenance.host', 'mine'), ('schema_version', 1), ('schema_version', 7),
    ],
)  # fmt: skip
def test_our_check_and_the_schema_refuse_the_same(committed, validator, path, value):
    content = next(content for content in committed.values() if content['schema_version'] == 2)
    assert validator.is_valid(content) and parse(content)
    wrong = spoilt(content, path, value)
    assert not validator.is_valid(wrong)
    with pytest.raises(ValueError, match=path.partition('.')[0].replace('_', '.')):
        parse(wrong)


def test_a_field_that_came_later_has_its_earlier_value_in_old_records(committed):
    old = next(content for content in committed.values() if content['schema_version'] == 1)
    assert 'labels' not in old['distilled']
    record = parse(old)
    assert record.distilled.labels == 'hard' and 'labels' not in as_json(record, version=1)['distilled']


if __name__ == '__main__':
    schema.write(DOCS)
