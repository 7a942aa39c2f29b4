"""Side-by-side measurements of prefect_tune and its peers; run with `python -m benchmarks`."""
