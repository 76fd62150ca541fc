"""Checkpoint files of any origin as plain values, without running anything in them.

May import: nothing else of the exporter.
Public names: `load` (load_checkpoint, load_values), `checkpoint` (Checkpoint, ModuleFacts, without_weight_norm).
"""
