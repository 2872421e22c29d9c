"""Benchmarks: each module is one command, and each figure is a ratio paired in one run."""
