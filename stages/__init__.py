"""The pipeline's stages, a module each: read parameters, load inputs, call ``vae``, write outputs."""

import os
from pathlib import Path

# A queue runs experiments side by side, each in a folder of its own. Each computes with as many threads as there are
# cores, since results may depend on their number, but a thread that waits must sleep: one that spins keeps the other
# experiments from working. torch reads this when it is imported; whoever has set something already knows better.
if Path(os.environ.get("DVC_ROOT", "")).resolve() != Path.cwd() and "OMP_NUM_THREADS" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
