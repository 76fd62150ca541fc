"""Recurrent language models: read from the tensors and names of a checkpoint, with vocabulary and step function.

A checkpoint's tensors become parts (state_dict, cells), these a network (assemble), and that a step graph (step).
Imports `assumptions`, `checkpoints`, `reader`, `graph` and `build_tokenizer`. Public: `read_text` (read),
`refuse_foreign` (metadata), `TextNetwork` (step), the layers (layers), `RULES` and `ADJUSTMENTS` (vocabulary).
"""
