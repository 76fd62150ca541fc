"""The errors that a person is told in one line."""


class TuiGenError(Exception):
    """Something that the user can mend; the message names the cause and the cure in one line."""


class UsageError(TuiGenError):
    """The command was asked for in a way that cannot work."""


class DeviceFullError(TuiGenError):
    """A device has no room for what it was to compute; it still works."""


class DeviceLostError(TuiGenError):
    """A device does not answer any more; what lay in its memory is gone."""
