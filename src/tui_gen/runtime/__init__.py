"""Running a model's graph with onnxruntime, on the CPU or on a GPU, and rewriting it for that.

May import: generation and what it may import.
Public names: `model` (Model), `session` (Session), `state` (State), `contract`, `placement`, `receptive_field` (audit).
"""
