"""Checkpoint files of any origin as plain values, without running anything in them.

Imports nothing else of `export`. Public: `load_checkpoint` and `load_values` (load), `Checkpoint`, `ModuleFacts`,
`without_weight_norm` and `without_spectral_norm` (checkpoint).
"""
