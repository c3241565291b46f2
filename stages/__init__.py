"""The pipeline's stages, one module each: read parameters, load inputs, call ``vae``, write outputs."""

from vae.base import openmp

openmp.configure()  # must run before torch is imported
