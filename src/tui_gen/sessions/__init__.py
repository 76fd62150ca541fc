"""What a person does with an open model, and the file from which it can be done again.

May import: library and what it may import.
Public names: `workspace` (Workspace), `session` (Session), `file` (read_session, model_folders), `journal` (Journal),
`replay` (Replay, replay), `command` (command_for).
"""
