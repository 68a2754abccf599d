"""The registry rows of the probe protocols: versioned rules that turn the distilled set of any method into a number.

A changed rule gets a new row with a new name. Every record contains a hash of `bench.probes.task.PROBE_VERSION`, the name of
the rules and all settings.
"""

from bench.config.registry import Row

# Frozen names that are part of every key. The first look like addresses of code, but do not follow the code when it moves.
_ADAM, _RIDGE, _NEAREST = 'bench.probe:adam_probe', 'bench.probe:ridge_probe', 'nearest neighbour'
_CHOSEN_RIDGE = 'ridge, strength chosen on training images'

ROWS = (
    Row(
        'paper-v1',
        'bench.probes.adam:adam_probe',
        'the published probe training, from a pool of cached random views',
        rules=_ADAM,
    ),
    Row(
        'paper-v1-exact',
        'bench.probes.adam:adam_probe',
        'the published probe training, each epoch on freshly encoded random views (slow)',
        settings={'num_views': None, 'full_views': None},
        rules=_ADAM,
    ),
    Row(
        'release-v1',
        'bench.probes.adam:adam_probe',
        'the released evaluator: its views, each used once, and its schedule (slow); the whole split from a pool',
        settings={'num_views': None, 'square': True, 'overhang': True, 'interpolation': 'bilinear', 'cosine': 'epoch'},
        rules=_ADAM,
    ),
    Row(
        'ridge-v1',
        'bench.probes.ridge:ridge_probe',
        'ridge regression on cached test-view features: convex, no randomness',
        rules=_RIDGE,
    ),
    Row(
        'ridge-v2',
        'bench.probes.chosen_ridge:chosen_ridge_probe',
        'ridge regression with the strength that is best on training images: convex, no randomness',
        rules=_CHOSEN_RIDGE,
    ),
    Row(
        'nn1-v1',
        'bench.probes.nearest:nearest_probe',
        '1-nearest-neighbour accuracy among the distilled images, by test-view features: no training',
        rules=_NEAREST,
    ),
)
