"""Training: networks, data, presets, the loop, and checkpoints that the exporter reads back.

May import: the readers of the exporter, and `tui_gen`.
Public names: `train` (main), `trainer` (Trainer, Options), `presets` (PRESETS, Training), `networks`, `native`
(network_of, read_trained).
"""
