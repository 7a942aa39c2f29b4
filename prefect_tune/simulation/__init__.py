"""Sweeps on a virtual clock: `simulate`, `plan`, `compare` and `replay`, and what they run on."""
