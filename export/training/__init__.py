"""Training: networks, data, presets, the loop, and checkpoints that the exporter reads back.

May import: the readers of the exporter, and `tui_gen`.
"""
