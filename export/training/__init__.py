"""Training: networks, data, presets, the loop, and checkpoints that the exporter reads back.

May import: images, text and what they may import.
Public names: `train` (main), `trainer` (Trainer), `presets` (PRESETS, Training), `networks` (build_network),
`native` (network_of, read_trained).
"""
