"""How likely a model finds given data.

May import: runtime and what it may import.
Public names: `score` (score, score_given, StreamScorer), `branch_scores` (BranchSurprisal), `divergence` (Divergence,
TextReading), `comparison` (ModelComparison), `given` (GivenReader), `report` (Report).
"""
