"""The command line program ``prefect-tune``."""
