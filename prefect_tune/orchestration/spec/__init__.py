"""Experiments as plain data: one model for the deployable flow's form, YAML files and JSON."""
