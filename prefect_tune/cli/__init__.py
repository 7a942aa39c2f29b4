"""The command line: ``prefect-tune COMMAND``."""
