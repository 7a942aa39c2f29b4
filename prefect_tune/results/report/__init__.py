"""Report about an experiment in one HTML file, which refers to no other files."""

from prefect_tune.results.report.page import write_report

__all__ = ["write_report"]
