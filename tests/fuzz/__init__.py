"""Hostile input by the thousand: files changed at random, read in processes of their own with limits.

`python -m tests.fuzz --seconds 60 --seed 0 [KIND ...]`; the same seed makes the same inputs.
"""
