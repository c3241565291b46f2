"""The pipeline's stages, a module each: read parameters, load inputs, call ``vae``, write outputs."""

import vae  # noqa: F401  # says how threads wait, before a stage imports torch
