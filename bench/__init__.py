"""How small can a labelled image set be and still train a good linear probe on a frozen vision backbone?"""

import os

__version__ = '0.1.0'

# Threads that wait for work by spinning starve the others when several processes share the cores, loader workers or a
# second run: one test took 228 s instead of 20. OpenMP reads this when torch is first imported.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
