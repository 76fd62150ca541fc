"""The commands of `tui-gen`, one file each; `main` runs them, `options` holds what they share.

May import: everything of tui_gen.
"""
