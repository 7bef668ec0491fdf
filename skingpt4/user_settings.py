"""The one file of settings that belongs to a user, not to a run: where this computer keeps its weights.

`skingpt4 weights use DIR` writes it, to `$XDG_CONFIG_HOME/skingpt4/user.yaml` (by default `~/.config/skingpt4` on
Linux, `~/Library/Application Support/skingpt4` on a Mac, `%LOCALAPPDATA%\\skingpt4` on Windows):

    weights: [/data/models, /scans/models]

A weight file or folder that is not where a setting says is looked for there, by the last part of its path.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from skingpt4.durable import write_whole
from skingpt4.errors import SettingsError

KEY = "weights"


def user_settings_file() -> Path:
    """Where the file is, or would be."""
    from platformdirs import user_config_path

    return user_config_path("skingpt4", appauthor=False) / "user.yaml"


def weights_folders() -> list[Path]:
    """The folders that `weights use` was told, in their order; none where there is no file.

    Raises `SettingsError` for a file that cannot be read or holds anything else.
    """
    import yaml

    file = user_settings_file()
    if not file.is_file():
        return []
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read: {error}. {_MEND}") from error
    folders = values.get(KEY, []) if isinstance(values, dict) and set(values) <= {KEY} else None
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise SettingsError(f"{file} must hold `{KEY}`, a list of folders, and nothing else. {_MEND}")
    return [Path(os.path.expanduser(folder)) for folder in folders]


def use_weights(folders: Sequence[Path]) -> Path:
    """Look for weights in these folders from now on, instead of those told before; returns the user's file.

    Raises `SettingsError` for a folder that does not exist, and where the file cannot be written.
    """
    import yaml

    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"{folder} is no folder; give the one that the weights are in.")
    file = user_settings_file()
    content = yaml.safe_dump({KEY: [str(folder.resolve()) for folder in folders]}, allow_unicode=True)
    try:
        return write_whole(file, content.encode())
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}.") from error


_MEND = "Delete it, or write it anew with `skingpt4 weights use DIR`."
