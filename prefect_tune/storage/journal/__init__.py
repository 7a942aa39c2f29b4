"""The journal of an experiment: its bytes, and its copy in storage."""
