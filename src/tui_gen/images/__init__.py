"""Image models: phrases to token ids, token ids to pixels, pixels to characters and files.

May import: text and what it may import.
Public names: `codec` (ImageCodec), `picture` (Picture), `raster` (Raster), `read` (read_levels), `encode` (row_writer),
`completion` (completion_prompt).
"""
