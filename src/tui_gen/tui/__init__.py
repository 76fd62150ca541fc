"""The screen, in Textual.

May import: everything of tui_gen but cli.
Public names: `app` (TuiGen), `playground` (PlaygroundScreen), `bindings` (KEYS, Context), `keymap` (Keymap),
`themes` (Themes), `knob_state` (Settings).
"""
