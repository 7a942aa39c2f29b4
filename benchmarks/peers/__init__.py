"""One script per peer; each imports the peer and `benchmarks.subject`, nothing else of ours."""
