"""Checkpoints as files: what users hold in their hands, and how one becomes complete."""
