"""Pages about runs, and the results table."""

from backthrough.report.page import About, write_page
from backthrough.report.results import Row, read_rows, results_page, write_row

__all__ = ["About", "Row", "read_rows", "results_page", "write_page", "write_row"]
