"""Measures of an exported model: held-out losses, samples of text, adherence to prompts.

May import: everything of `export` but the command line.
Public names: `evaluate` (main, evaluate), `text_report`, `prompt_adherence` (main, measure).
"""
