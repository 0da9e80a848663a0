"""Reports: results of a trial -> one self-contained HTML page, its figures and tables. No torch."""

from equipoise.report.page import write_report, written

__all__ = ["write_report", "written"]
