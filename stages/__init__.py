"""The pipeline's stages, a module each: read parameters, load inputs, call ``vae``, write outputs."""

from vae.base import openmp

openmp.configure()  # here, since a stage imports torch first of all
