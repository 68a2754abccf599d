"""The table of probe protocols: versioned rules by which every method's set is turned into a number.

A changed rule is a new row with a new name. `bench.probes.task.PROBE_VERSION`, the name of the rules and all settings are
hashed into each record.
"""

from bench.config.registry import Row

# Frozen names, which are in every key: where the code lay when they were given says nothing of where it lies now.
_ADAM, _RIDGE = 'bench.probe:adam_probe', 'bench.probe:ridge_probe'

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
        'ridge-v1',
        'bench.probes.ridge:ridge_probe',
        'ridge regression on cached test-view features: convex, no randomness',
        rules=_RIDGE,
    ),
)
