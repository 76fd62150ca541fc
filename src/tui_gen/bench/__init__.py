"""Timings of step functions and of `generate`, beside what a person would otherwise run."""
