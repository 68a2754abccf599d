"""The writers of tables, against text that is written out here."""

import csv
import io

import pytest

from bench.core import tables

HEAD = ('method', 'top1')
ROWS = [('lgm', '61.0'), ('k_center', '5.5')]


def test_columns_are_aligned_and_lines_end_without_blanks():
    assert tables.aligned([HEAD, *ROWS], right={1}, indent=' ') == (
        ' method    top1\n'
        ' lgm       61.0\n'
        ' k_center   5.5'
    )  # fmt: skip
    assert tables.aligned([('a', ''), ('bb', 'c')]) == 'a\nbb  c'


def test_markdown_says_which_columns_stand_at_the_right():
    assert tables.markdown(HEAD, ROWS, right=range(1, 2)) == (
        '| method | top1 |\n| --- | ---: |\n| lgm | 61.0 |\n| k_center | 5.5 |'
    )
    assert tables.markdown_escape('a|b <c> *d*') == 'a\\|b &lt;c> \\*d\\*'
    with pytest.raises(AssertionError):
        tables.markdown(HEAD, [('lgm',)])


def test_csv_quotes_what_it_must_and_leaves_none_empty():
    text = tables.csv_text(HEAD, [('a, "b"', None), ('c', 1.5)])
    assert text == 'method,top1\n"a, ""b""",\nc,1.5\n'
    assert list(csv.reader(io.StringIO(text)))[1] == ['a, "b"', '']


def test_latex_is_a_booktabs_tabular():
    assert tables.latex(HEAD, ROWS[:1], right={1}) == (
        '\\begin{tabular}{lr}\n\\toprule\nmethod & top1 \\\\\n\\midrule\nlgm & 61.0 \\\\\n\\bottomrule\n\\end{tabular}\n'
    )
    assert tables.latex_escape('k_center 5 % ± 1 & {a}\\') == 'k\\_center 5 \\% $\\pm$ 1 \\& \\{a\\}\\textbackslash{}'


def test_a_number_has_its_format_and_nothing_is_empty():
    shown = [tables.number(value) for value in (1.25, 3, 'a', None, float('nan'))]
    assert shown == ['1.2', '3', 'a', '', ''] and tables.number(0.12345, '.3f') == '0.123'
