"""The experiment directory: paths, journal, result files."""
