"""What Prefect tells a sweep: cancel, suspend, run again."""
