"""Pickles on disk: signing and encryption, safe loading of plain data, large values."""
