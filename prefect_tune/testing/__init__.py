"""Conformance suites for the seams; third parties subclass them."""
