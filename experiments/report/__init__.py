"""Reports and figures: the page of a population fit, and every figure of the package."""

from starcensus.experiments.report.page import write_report as write_report
