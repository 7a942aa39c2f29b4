"""Which cluster trials run on: a local one, or one that is there."""
