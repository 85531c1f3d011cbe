"""Benchmarks of the harness itself: ratios of things measured side by side; no time passes or fails."""
