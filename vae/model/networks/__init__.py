"""Encoders and decoders: a module for each value of ``model.network``.

Each module has a class ``Encoder`` and a class ``Decoder``, both built from an ``Architecture``. To add a network, add
its module here and its name to ``ModelParams.network``.
"""
