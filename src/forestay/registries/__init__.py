"""Remembering connections: a small store contract per engine, and one registry written over it."""
