"""Real photographs through real ImageNet weights: a small version of gin/grocery_mobilenetv2.gin."""

import pandas as pd
import pytest

pytestmark = pytest.mark.shared

CLASSES = (
    '00_Golden-Delicious', '06_Banana', '22_Kaiser', '38_Arla-Ecological-Medium-Fat-Milk', '60_Aubergine', '77_Beef-Tomato',
)  # fmt: skip


def test_every_method_runs_and_lgm_trains_a_better_probe_than_the_real_baselines(shared, run_bench, tmp_path):
    for split in ('train', 'test'):
        for name in CLASSES:
            folder = tmp_path / 'data' / 'grocery' / split / name
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(shared / 'data' / 'grocery' / split / name)
    bindings = [
        'timm.input_side = 96', 'run.seeds = [0]', "run.protocol = 'ridge-v1'", 'lgm_fast.num_updates = 60',
        'lgm_real_init.num_updates = 16', 'lgm_plus.num_updates = 16', 'lgm_plus_real_init.num_updates = 16',
        'lgm_fast.num_views = 1', 'lgm_fast.level_every = 2', 'lgm_fast.num_augmentations = 2',
    ]  # fmt: skip
    outcome = run_bench(
        '--gin_file=gin/grocery_mobilenetv2.gin', f'--data_root={tmp_path / "data"}',
        f'--weights_root={shared / "weights"}', '--device=cpu', *[f'--gin_bindings={line}' for line in bindings],
    )
    assert (outcome.status, outcome.err) == (0, '')
    table = pd.read_csv(tmp_path / 'results' / 'leaderboard.csv').set_index('method')
    assert set(table.index) == {
        'random', 'centroid', 'herding', 'k_center', 'full', 'lgm_fast', 'lgm_real_init', 'lgm_plus', 'lgm_plus_real_init',
    }  # fmt: skip
    assert (table['status'] == 'ok').all() and table.loc['full', 'top1_mean'] > 85
    assert table.loc['lgm_real_init', 'top1_mean'] > table.loc['random', 'top1_mean']
    assert table.loc['lgm_fast', 'top1_mean'] > 100 / len(CLASSES) + 10  # far from chance after 60 updates
