"""From journal and snapshot to where an experiment was."""
