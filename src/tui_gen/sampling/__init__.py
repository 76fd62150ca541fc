"""From logits to a token: the parameters, the filters, the random numbers, and the step that results.

May import: errors, terminal_text, files, json_fields, card.
Public names: `params` (SamplingParams, weights, draw_tokens, FREE), `noise` (Noise), `sweep` (Sweep), `knobs` (Knob,
knobs_for), `step` (Step).
"""
