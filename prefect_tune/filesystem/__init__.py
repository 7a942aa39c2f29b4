"""Files wherever they are: local paths and every file system that fsspec knows."""
