"""Trials whose training function runs in several processes, which know of each other."""
