"""The errors that a person is told in one line."""


class TuiGenError(Exception):
    """Something that the user can mend; the message names the cause and the cure in one line."""


class UsageError(TuiGenError):
    """The command was asked for in a way that cannot work."""
