"""Image networks: what their tensors say of them, and the whole-image form that everything is compared with.

May import: compiler, assumptions, gaps and what they may import.
Public names: `single_stack` (read_single), `gated` (read_gated), `pixelcnnpp` (read_pixelcnnpp),
`streaming` (StreamingNetwork), `whole_image` (whole_image_step).
"""
