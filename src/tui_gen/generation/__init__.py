"""The generation loop, and what is kept of a run: branches, and the tree that they make.

May import: sampling, text, images and what they may import.
Public names: `generate` (generate), `protocol` (StepModel, State), `branch` (Branch), `tree` (Tree),
`pacing`, `describe`.
"""
