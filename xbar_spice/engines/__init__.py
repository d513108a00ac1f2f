"""Engines: ways to answer the read of an array."""
