"""What is inside a model, for a person to look at, after the fact: nothing costs anything until somebody looks.

May import: library and what it may import.
Public names: `inside` (Inside, Trace, look, neighbours), `branch_trace` (BranchTrace), `influence` (Influence,
PictureExchanges), `receptive_field` (taps_field), `audit` (audit), `units` (properties, matches).
"""
