"""Messages between the processes of an experiment."""
