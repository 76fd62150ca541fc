"""Recurrent language models: read from the tensors and names of a checkpoint, with vocabulary and step function.

A checkpoint's tensors become parts (state_dict, cells), these a network (assemble), and that a step graph (step).
May import: assumptions, gaps and what they may import.
Public names: `read` (read_text), `metadata` (refuse_foreign), `step` (TextNetwork), `vocabulary` (read_vocabulary).
"""
