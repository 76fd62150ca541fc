"""The parts of the screen. Each is given data and posts messages; none knows the screen or the app.

May import: everything of tui_gen but cli, the app and the playground.
Public names: `runs` (Runs), `run_view` (RunView), `side` (Side), `lists` (ModelList, BranchList), `header` (Header,
KeyBar), `prompt` (Prompt), `comparison` (Comparison), `divergence_strip` (DivergenceStrip), `search` (SearchBar).
"""
