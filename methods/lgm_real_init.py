"""The fast LGM started from photographs (the centroid's at ipc 1) instead of noise; a variant, not the published method."""

VARIANT_OF = 'lgm_fast'
TUNED = 'learning rate; two settings on the validation images of grocery'
SETTINGS = {'init': 'real', 'learning_rate': 0.004, 'lr_over_levels': False}
