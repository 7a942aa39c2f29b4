"""An experiment as one HTML file that needs nothing but itself."""

from prefect_tune.results.report.page import write_report

__all__ = ["write_report"]
