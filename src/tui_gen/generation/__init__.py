"""The generation loop, and what is kept of a run: branches, and the tree that they make.

May import: images and what it may import.
Public names: `generate` (generate), `protocol` (StepModel, State), `branch` (Branch, BranchStart), `tree` (Tree),
`surgery` (Forget, Hold, Take), `state_parts` (StateParts), `pacing` (Pace, frames), `describe` (describe).
"""
