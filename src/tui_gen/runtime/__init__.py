"""Running a model's graph with onnxruntime, on the CPU or on a GPU, and rewriting it for that.

May import: generation and what it may import.
Public names: `model` (Model), `session` (OnnxSession), `state` (HostState), `contract` (check_contract),
`placement` (Placement).
"""
