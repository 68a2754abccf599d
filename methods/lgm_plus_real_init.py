"""Our method lgm_plus started from photographs (the centroid's at ipc 1) instead of noise: docs/lgm_plus.md."""

VARIANT_OF = 'lgm_plus'
TUNED = 'nothing of its own'
SETTINGS = {'init': 'real', 'learning_rate': 0.004, 'lr_over_levels': False}
