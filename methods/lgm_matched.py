"""The fast LGM with a small term for the mean and scale of all synthetic features; a variant, not the published method."""

VARIANT_OF = 'lgm_fast'
TUNED = 'the weight of its term; MATCHED'
SETTINGS = {'moments': 0.1}
