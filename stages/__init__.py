"""The pipeline's stages, one module each: read parameters, load inputs, call ``vae``, write outputs."""

import gc
import sys

from vae.base import command, environment

INTERRUPTED = (
    "interrupted. DVC deleted the stage's earlier outputs when it started. Run dvc repro to continue, or make back to "
    "return to the committed results."
)

if sys.argv[0] == "-m":  # until Python has found the module of python -m stages.NAME
    command.before_imports(INTERRUPTED)
    gc.disable()  # until runtime.configure: what libraries create while they are imported is never freed
environment.configure()  # must run before torch is imported
