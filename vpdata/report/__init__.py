"""The report of a run: a page to look at, and contact sheets of clips."""

from vpdata.report.page import ReportSettings, write_report

__all__ = ["ReportSettings", "write_report"]
