"""The list of planted changes does not rot; `make mutants` plants them."""

import re

import pytest
from conftest import ROOT

from tests.mutants.planted import MUTANTS


@pytest.mark.parametrize('mutant', MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_change_applies_and_names_tests_that_exist(mutant):
    assert (ROOT / mutant.file).read_text(encoding='utf-8').count(mutant.before) == 1, f'{mutant.file}: {mutant.before}'
    assert mutant.before != mutant.after and mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition('::')
        assert (ROOT / file).is_file() and file not in ('tests/test_code_versions.py', 'tests/test_mutants.py'), test
        text = (ROOT / file).read_text(encoding='utf-8')
        assert not name or re.search(rf'^def {name.partition("[")[0]}\(', text, re.MULTILINE), test


def test_the_changes_are_many_and_their_names_are_their_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 60
