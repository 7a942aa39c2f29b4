"""Reads and writes files on local disks and on every file system that fsspec knows."""
