"""Measures of an exported model: held-out losses, samples of text, adherence to prompts.

May import: everything of the exporter but its command line.
Public names: `evaluate` (evaluate), `text_report` (text_report), `prompt_adherence` (measure).
"""
