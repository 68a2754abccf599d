"""Gin at the outermost layer: bindings reach the settings, and every bad binding ends in one clear line."""

import math
from typing import Any, Literal

import gin
import pytest

from bench.config import gin_files as config
from bench.config import registry
from bench.config.gin_files import ROOT, loaded
from bench.core import ranges
from bench.core.errors import InputError
from bench.pipeline.grid import RUN, cells, grid

GRID = ["run.datasets = ['toy_data']", "run.backbones = ['toy_net']"]


@pytest.fixture(autouse=True)
def world(own_plugins):
    yield
    assert gin.config._CONFIG == {}, 'a test leaked its bindings'


def settings_of(lines, name='lgm', kind='method', files=()):
    with loaded(files, lines, command=RUN) as bound:
        return bound.choose(kind, name).settings


def grid_of(lines, files=()):
    with loaded(files, [*GRID, *lines] if not files else lines, command=RUN) as bound:
        return grid(bound)


def write(folder, name, *lines):
    path = folder / name
    path.write_text('\n'.join(lines) + '\n')
    return str(path)


# --- what is bound ----------------------------------------------------------------------------------------------------


def test_bindings_reach_the_settings_and_the_rest_keeps_its_defaults():
    plain = settings_of([])
    bound = settings_of(['lgm.num_updates = 7', 'lgm.flip_prob = 0.25'])
    assert (plain['num_updates'], plain['learning_rate'], plain['probe_sigma']) == (5001, 2e-3, 0.01)
    assert bound == {**plain, 'num_updates': 7, 'flip_prob': 0.25}
    assert plain == registry.find('method', 'lgm')[0].defaults()


def test_later_lines_win_and_flags_win_over_files(tmp_path):
    file = write(tmp_path, 'a.gin', 'lgm.num_updates = 1', 'lgm.num_updates = 2', 'lgm.level_every = 5')
    assert settings_of([], files=[file])['num_updates'] == 2
    assert settings_of(['lgm.num_updates = 3', 'lgm.num_updates = 4'], files=[file])['num_updates'] == 4
    other = write(tmp_path, 'b.gin', 'lgm.level_every = 6')
    assert settings_of([], files=[file, other])['level_every'] == 6
    assert settings_of([], files=[other, file])['level_every'] == 5


def test_files_and_includes_are_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert settings_of([], files=['gin/methods/lgm_released.gin'])['class_balanced'] is False
    write(tmp_path, 'mine.gin', "include 'gin/methods/lgm_released.gin'", 'lgm.num_updates = 9')
    bound = settings_of([], files=['mine.gin'])
    assert (bound['num_updates'], bound['class_balanced']) == (9, False)


def test_a_file_here_comes_before_one_of_that_name_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'gin' / 'methods').mkdir(parents=True)
    write(tmp_path / 'gin' / 'methods', 'lgm_released.gin', 'lgm.num_updates = 3')
    assert settings_of([], files=['gin/methods/lgm_released.gin']) == settings_of(['lgm.num_updates = 3'])


def test_a_label_is_a_scope_that_inherits_what_is_bound_without_one():
    plainly = ['lgm.num_updates = 5', 'lgm.num_views = 3']
    with loaded([], [*plainly, "flat/lgm.parameterization = 'pixels'", 'flat/lgm.num_views = 4'], command=RUN) as bound:
        flat, plain = bound.choose('method', 'flat=lgm'), bound.choose('method', 'lgm')
    assert (flat.label, flat.name, plain.label) == ('flat', 'lgm', 'lgm')
    assert flat.settings == {**plain.settings, 'parameterization': 'pixels', 'num_views': 4}
    assert (plain.settings['num_updates'], plain.settings['parameterization']) == (5, 'pyramid')


def test_a_variant_has_the_settings_and_bindings_of_its_bases_from_the_outermost_inwards():
    names = ('flip_prob', 'num_updates', 'learning_rate', 'num_views')
    lines = ['lgm.flip_prob = 0.1', 'lgm.num_updates = 5', 'lgm_fast.learning_rate = 0.5', 'lgm_fast.num_views = 4']

    def found(name, *more):
        settings = settings_of([*lines, *more], name)
        return [settings[each] for each in names]

    assert found('lgm') == [0.1, 5, 2e-3, None]
    assert found('lgm_fast') == [0.1, 160, 0.5, 4]
    assert found('lgm_real_init') == [0.1, 160, 0.004, 4]
    assert found('lgm_real_init', 'lgm_real_init.num_views = 2') == [0.1, 160, 0.004, 2]
    assert found('x=lgm_real_init', 'x/lgm_fast.num_updates = 6', 'y/lgm_fast.num_updates = 7') == [0.1, 6, 0.004, 4]
    # a follower, and a variant of it
    assert found('lgm_plus') == [0.1, 160, 0.5, 4]
    assert found('lgm_plus_real_init', 'lgm_plus.num_updates = 8') == [0.1, 8, 0.004, 4]
    assert settings_of(lines, 'dm').keys() == registry.find('method', 'dm')[0].defaults().keys()


def test_a_binding_that_a_variant_overrides_is_not_used():
    (cell,) = grid_of(['lgm.flip_prob = 0.1', "run.methods = ['lgm_fast']"])
    assert cell.method.settings['flip_prob'] == 0.1
    with pytest.raises(InputError, match='nothing in this run uses the binding lgm.num_updates'):
        grid_of(['lgm.num_updates = 5', "run.methods = ['lgm_fast', 'lgm_plus']"])
    assert len(grid_of(['lgm.num_updates = 5', "run.methods = ['lgm_fast', 'lgm']", 'run.seeds = [0]'])) == 2


def test_followers_take_the_schedule_of_the_method_that_the_run_names():
    methods = "run.methods = ['lgm_real_init', 'lgm_plus', 'lgm_plus_real_init', 'dm', 'random']"

    def found(*lines):
        return {c.method.label: c.method.settings['num_updates'] for c in grid_of([methods, *lines]) if c.source}

    fast = dict.fromkeys(('lgm_real_init', 'lgm_plus', 'lgm_plus_real_init', 'dm'), 160)
    assert found() == found("run.follow = 'lgm_fast'") == fast
    assert found("run.follow = 'lgm'") == {**dict.fromkeys(fast, 5001), 'lgm_real_init': 160}
    rival = {'lgm_real_init': 160, 'lgm_plus': 7, 'lgm_plus_real_init': 7, 'dm': 7}
    assert found("run.follow = 'dm'", 'dm.num_updates = 7') == rival
    keys = [[c.key for c in grid_of([methods, *lines])] for lines in ([], ["run.follow = 'lgm_fast'"])]
    assert keys[0] == keys[1]
    with pytest.raises(InputError, match=r"unknown method 'lgn'; did you mean lgm"):
        grid_of(["run.methods = ['random']", "run.follow = 'lgn'"])
    with pytest.raises(InputError, match='follows itself: lgm_plus -> lgm_plus_real_init -> lgm_plus'):
        found("run.follow = 'lgm_plus_real_init'")


def test_macros_stand_for_their_values_and_one_that_is_idle_is_an_error():
    assert settings_of(['UPDATES = 8', 'lgm.num_updates = %UPDATES'])['num_updates'] == 8
    assert grid_of(['N = 8', 'lgm.num_updates = %N', "run.methods = ['lgm']"])[0].method.settings['num_updates'] == 8
    with pytest.raises(InputError, match=r'uses the macro M \(--gin_bindings number 3\): remove it, or use it, as %M'):
        grid_of(['M = 8', "run.methods = ['random']"])


def test_a_macro_may_be_idle_where_it_is_included_but_not_in_the_file_that_is_given(tmp_path):
    shared = write(tmp_path, 'shared.gin', "NETS = ['toy_net']", 'N = 8')
    lines = [f"include '{shared}'", *GRID[:1], 'run.backbones = %NETS', "run.methods = ['lgm']"]
    assert len(grid_of([], files=[write(tmp_path, 'a.gin', *lines)])) == 1
    (cell,) = grid_of([], files=[write(tmp_path, 'a.gin', *lines, 'lgm.num_updates = %N')])
    assert cell.method.settings['num_updates'] == 8
    with pytest.raises(InputError, match=r'uses the macro M \(.*a.gin, line 5\)'):
        grid_of([], files=[write(tmp_path, 'a.gin', *lines, 'M = 8')])


def test_a_macro_given_by_flag_narrows_the_grid_of_a_file(tmp_path):
    nets = "NETS = ['toy_net', 'tiny_simclr']"
    file = write(tmp_path, 'a.gin', nets, *GRID[:1], 'run.backbones = %NETS', "run.methods = ['random']", 'toy_net.seed = 3')
    assert [cell.eval.label for cell in grid_of([], files=[file])] == ['toy_net', 'tiny_simclr']
    assert [cell.eval.label for cell in grid_of(["NETS = ['tiny_simclr']"], files=[file])] == ['tiny_simclr']


def test_a_name_with_a_hyphen_is_bound_with_an_underscore():
    with loaded([], ['paper_v1.epochs = 3'], command=RUN) as bound:
        assert bound.choose('protocol', 'paper-v1').settings['epochs'] == 3
        assert bound.choose('protocol', 'paper-v1-exact').settings['epochs'] == 1000
        with pytest.raises(InputError, match="unknown protocol 'paper_v1'; did you mean paper-v1"):
            bound.choose('protocol', 'paper_v1')


def test_whole_and_broken_numbers_of_one_value_are_one_setting():
    settings = settings_of(['lgm.noise_mean = 0', 'lgm.decay_start = 1'])
    assert [type(settings[key]) for key in ('noise_mean', 'decay_start', 'num_updates')] == [float, float, int]
    assert settings == settings_of([])


def test_the_record_keeps_what_was_asked_with_scopes_and_later_lines_winning(tmp_path):
    file = write(tmp_path, 'a.gin', 'lgm.num_updates = 1', 'run.ipc = (1, 5)', 'N = 3', 'lgm.num_views = %N')
    with loaded([file], ['lgm.num_updates = 2', 'a/b/lgm.num_views = 4'], command=RUN) as bound:
        assert bound.asked() == {
            'lgm.num_updates': 2, 'run.ipc': [1, 5], 'N': 3, 'lgm.num_views': '%N', 'a/b/lgm.num_views': 4,
        }  # fmt: skip


def test_plain_functions_are_not_affected_by_bindings(toy):
    with loaded([], ['toy_data.num_classes = 2'], command=RUN) as bound:
        assert bound.choose('dataset', 'toy_data').settings['num_classes'] == 2
        assert toy.toy_data(None).train.num_classes == 6
        assert registry.find('dataset', 'toy_data')[0].load()(None).train.num_classes == 6
        assert [c.method.label for c in cells(bound, datasets='toy_data', backbones='toy_net', methods='random')]


def test_the_folder_of_gin_files_does_not_shadow_the_gin_package():
    assert not list((ROOT / 'gin').rglob('*.py'))
    assert hasattr(gin, 'parse_config') and ROOT not in config.Path(gin.__file__).parents[:2]


# --- bad lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'line, message',
    [
        ('lgm.num_update = 3', r"lgm has no parameter 'num_update' .*number 1\); did you mean num_updates"),
        ('lgn.num_updates = 3', r"nothing is called 'lgn' .*; did you mean .*lgm"),
        ('run.method = 3', r"run has no parameter 'method' .*did you mean methods"),
        ('random.count = 3', r"random has no parameter 'count' .*it has none"),
        ('lgm.num_updates = ', 'number 1, line 1: Unable to parse value'),
        ('lgm.num_updates = [1,', 'number 1 ends in the middle of a value'),
        ('lgm.num_updates 3', 'number 1, line 1: Couldn.t parse statement'),
        ('lgm.num_updates = three', "number 1, line 1: Failed to parse token 'three'"),
        ('lgm.num_updates = nan', "number 1, line 1: Failed to parse token 'nan'"),
        ('lgm.num_updates = %NOWHERE', 'NOWHERE'),
        ('lgm.num_updates = @nowhere', 'nowhere'),
        ("include 'gin/nowhere.gin'", r'no gin file gin/nowhere.gin \(included by --gin_bindings number 1\)'),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line, message):
    with pytest.raises(InputError, match=message) as caught:
        grid_of_line(line)
    assert '\n' not in str(caught.value)


def grid_of_line(line):
    with loaded([], [line, *GRID, "run.methods = ['lgm', 'random']"], command=RUN) as bound:
        grid(bound)


@pytest.mark.parametrize(
    'line, expected',
    [
        ('lgm.learning_rate = -0.1', 'expected a number > 0, got -0.1'),
        ('lgm.learning_rate = 0', 'expected a number > 0, got 0'),
        ("lgm.learning_rate = 'nan'", "expected a number > 0, got 'nan'"),
        ('lgm.learning_rate = True', 'expected a number > 0, got True'),
        ('lgm.learning_rate = 1e999', 'plain values'),
        ('lgm.num_updates = -1', 'expected an integer >= 0, got -1'),
        ('lgm.num_updates = 1.5', 'expected an integer >= 0, got 1.5'),
        ('lgm.flip_prob = 1.01', r'expected a number in \[0, 1\], got 1.01'),
        ('lgm.crop_min_area = 0.0', r'expected a number in \(0, 1\], got 0.0'),
        ("lgm.init = 'nois'", "expected one of 'noise', 'real', got 'nois'"),
        ('lgm.crop = 1', 'expected a bool, got 1'),
        ('lgm.image_size = 0', 'expected an integer >= 1 or None, got 0'),
        ('lgm.init = @lgm', 'lgm.init: expected'),
        ("run.ipc = 'one'", "run.ipc: expected a list or an integer, got 'one'"),
        ('run.ipc = 1.5', 'run.ipc: expected a list or an integer, got 1.5'),
        ('paper_v1.repeats = 0', 'paper_v1.repeats: expected an integer >= 1, got 0'),
    ],
)
def test_a_value_out_of_range_or_of_the_wrong_type_is_named(line, expected):
    with pytest.raises(InputError, match=expected) as caught:
        grid_of_line(line)
    assert line.partition(' ')[0] in str(caught.value) or 'plain values' in expected


def test_nan_is_refused_when_settings_come_from_python():
    function = registry.find('method', 'lgm')[0].load()
    with pytest.raises(InputError, match='lgm.noise_std: expected a number, got NaN'):
        ranges.check(function, {'noise_std': math.nan}, name='lgm')


@pytest.mark.parametrize(('annotation', 'expected'), [
    (bool, bool), (bool | None, bool), (int, float), (ranges.PositiveInt | None, float), (ranges.Fraction | int, float),
    (Literal[1, 2.5], float), (str, str), (Literal['a', None], str), (int | str, str), (bool | int, str), (list[int], str),
    (Any, str), (None, str), ('ranges.Count', float),
])  # fmt: skip
def test_a_setting_is_shown_as_one_type_whatever_its_value(annotation, expected):
    def factory(*, setting):
        return setting

    factory.__annotations__['setting'] = annotation
    assert ranges.shown_type(factory, 'setting') is expected
    assert ranges.shown_type(lambda setting: setting, 'setting') is str


def test_a_binding_that_nothing_uses_is_an_error_that_names_it_and_its_place(tmp_path):
    file = write(tmp_path, 'a.gin', *GRID, "run.methods = ['random']", 'lgm.num_updates = 3')
    with pytest.raises(InputError, match=r'uses the binding lgm.num_updates \(.*a.gin, line 4\)'):
        grid_of([], files=[file])
    with pytest.raises(InputError, match=r'uses the binding lgm.num_updates \(--gin_bindings number 4'):
        grid_of(["run.methods = ['random']", 'lgm.num_updates = 3'])
    with pytest.raises(InputError, match='uses the binding other/lgm.num_updates'):
        grid_of(["run.methods = ['lgm', 'flat=lgm']", 'other/lgm.num_updates = 3'])


def test_where_flags_narrow_the_grid_of_a_file_its_other_bindings_may_be_idle(tmp_path):
    file = write(tmp_path, 'a.gin', *GRID, "run.methods = ['random', 'lgm']", 'lgm.num_updates = 3', 'N = 2')
    found = grid_of(["run.methods = ['random']"], files=[file])
    assert [cell.method.label for cell in found] == ['random']
    with pytest.raises(InputError, match='nothing in this run uses the binding toy_net.seed'):
        grid_of(["run.methods = ['random']", "run.backbones = ['tiny_simclr']", 'toy_net.seed = 3'], files=[file])


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match='no gin file nowhere.gin: looked in .* and '):
        settings_of([], files=['nowhere.gin'])
    with pytest.raises(InputError, match='no gin file '):
        settings_of([], files=[str(tmp_path)])
    file = write(tmp_path, 'a.gin', "include 'gin/no_such.gin'")
    with pytest.raises(InputError, match=r'no gin file gin/no_such.gin \(included by .*a.gin\)'):
        settings_of([], files=[file])
    (tmp_path / 'photo.gin').write_bytes(b'\xff\xd8\xff\xe0')
    with pytest.raises(InputError, match='photo.gin cannot be read as text'):
        settings_of([], files=[str(tmp_path / 'photo.gin')])
    for name, other in (('left', 'right'), ('right', 'left')):
        write(tmp_path, f'{name}.gin', f"include '{tmp_path}/{other}.gin'")
    with pytest.raises(InputError, match='left.gin includes itself, through .*right.gin'):
        settings_of([], files=[str(tmp_path / 'left.gin')])


def test_gin_is_cleared_after_success_and_after_errors():
    with loaded([], ['lgm.num_updates = 3'], command=RUN):
        assert gin.config._CONFIG
    assert not gin.config._CONFIG and not gin.config.config_is_locked()
    with pytest.raises(RuntimeError), loaded([], ['lgm.num_updates = 3'], command=RUN):
        raise RuntimeError
    assert not gin.config._CONFIG and not gin.config.config_is_locked()
    with pytest.raises(InputError), loaded([], ['lgm.num_updates = 3', 'lgm.nothing = 3'], command=RUN):
        pass
    assert not gin.config._CONFIG
    assert settings_of([])['num_updates'] == 5001


def test_run_itself_has_the_settings_that_users_bind():
    wanted = {'datasets', 'backbones', 'eval_backbones', 'methods', 'ipc', 'seeds', 'protocol'}
    assert wanted <= set(RUN.defaults())
