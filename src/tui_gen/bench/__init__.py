"""Timings of step functions, of `generate` and of the screen, beside what a person would otherwise run.

May import: library and what it may import.
Public names: `report` (print_report), `cases`, `models`, `screen` (Terminal), `networks`, `peers`,
`machine` (IdleLoop), `timing` (Result, in_turns).
"""
