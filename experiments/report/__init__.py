"""The report of a population fit: one self-contained HTML page."""

from starcensus.experiments.report.page import write_report as write_report
