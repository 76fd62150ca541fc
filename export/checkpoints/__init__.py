"""Checkpoints of any origin as plain values, without running anything in their files.

May import: nothing else of the exporter.
Public names: `load` (load_checkpoint, load_values, checkpoint_files),
`checkpoint` (Checkpoint, ModuleFacts, without_weight_norm).
"""
