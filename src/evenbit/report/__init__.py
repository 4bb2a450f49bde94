"""The report: what runs did and what binarization does to their features, on one page that needs nothing else."""

from evenbit.report.page import make_report

__all__ = ["make_report"]
