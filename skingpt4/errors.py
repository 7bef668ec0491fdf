"""The errors that users see. Each says what was wrong, what was expected and what to do; command lines print them
without a traceback.
"""


class SkinGPTError(Exception):
    """Base of every error that a user can mend. exit_code: of the command that it ends."""

    exit_code = 2


class SettingsError(SkinGPTError):
    """A YAML file or an option is wrong."""


class WeightsError(SkinGPTError):
    """A weight file is missing, damaged, unsafe, or does not fit the model."""


class ImageError(SkinGPTError):
    """Bytes that should be a picture are not, or are too big."""


class DataError(SkinGPTError):
    """A table, a folder or a record of training data is wrong."""


class DeviceError(SkinGPTError):
    """The wanted device is absent or the installed torch cannot use it."""


class TrainingError(SkinGPTError):
    """A run cannot go on."""
