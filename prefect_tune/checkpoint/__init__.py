"""Checkpoints as files: what users hold in their hands, and how one becomes complete."""

from prefect_tune.checkpoint.checkpoint import Checkpoint as Checkpoint
