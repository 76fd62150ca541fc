"""Modal screens: they ask for one thing and return it.

May import: the core of tui_gen, and widgets.
"""
