"""The pipeline's stages, a module each: read parameters, load inputs, call ``vae``, write outputs."""
