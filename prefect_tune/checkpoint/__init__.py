"""The `Checkpoint` class, and the files that make up a complete checkpoint."""

from prefect_tune.checkpoint.checkpoint import Checkpoint as Checkpoint
