"""The commands of `tui-gen`, one file each, with `configure` and `run`.

May import: everything of tui_gen.
Public names: `main` (main), `options`.
"""
