"""Imports of packages that are heavy or optional, at the moment they are used."""

from __future__ import annotations

import importlib
import shlex
from types import ModuleType

from multiloss.core.errors import MissingExtraError


def require(module: str, needed_for: str, package: str | None = None) -> ModuleType:
    """Import `module` now, or say which package to install.

    Args:
        module: Dotted name of the module.
        needed_for: What the user asked for, for the message.
        package: Name to install, where it is not the module's first part.

    Raises:
        MissingExtraError: If the package is not installed.

    Examples:
        >>> require("json", "an example").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # it is there, and lacks something of its own
            raise
        name = package or module.split(".")[0]
        raise MissingExtraError(
            f"{needed_for} needs the package {name!r}, which is not installed. Run: pip install {shlex.quote(name)}"
        ) from error
