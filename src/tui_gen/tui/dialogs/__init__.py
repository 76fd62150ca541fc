"""Modal screens: each asks for one thing and returns it.

May import: everything of tui_gen but cli, the app and the playground.
Public names: `dialog` (Dialog, Ask), `completion` (CompletionDialog), `save` (SaveDialog, CommandDialog),
`training` (TrainingDialog), `help` (HelpScreen).
"""
