"""Encoders and decoders: one family of networks a module."""
