"""What the processes of an experiment send each other."""
