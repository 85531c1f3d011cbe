"""Joins the other packages: command line, plan, pipeline, measuring, statistics, records, report.

Knows no framework, no graph rewrite and no runtime: those are behind the other packages' contracts.
"""
