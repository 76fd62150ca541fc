"""The parts of the screen. Each is given data and posts messages; none knows the screen or the app.

May import: the core of tui_gen, and other widgets.
"""
