"""Benchmarks for developers; `tui-gen bench` is the one for users."""
