"""Train models with several outputs and several losses, and account for every digit of the total loss."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiloss.api import *  # noqa: F403 (what is public is listed there)
    from multiloss.api import __all__ as __all__

    compare: Callable[..., Any]  # of multiloss.studies, which `import multiloss` does not load
    integrations: ModuleType

__version__ = "0.1.0"


LATE: dict[str, Callable[[], Any]] = {  # what stands above what `import multiloss` loads
    "integrations": lambda: importlib.import_module("multiloss.integrations"),
    "compare": lambda: importlib.import_module("multiloss.studies.compare").compare,
}


class _Package(ModuleType):
    """The package: loads torch with its first public name, so that `multiloss --help` does without."""

    def __getattr__(self, name: str) -> Any:
        if name in LATE:
            return LATE[name]()
        if name == "__all__" or not name.startswith("_"):
            api = importlib.import_module("multiloss.api")
            vars(self).update({public: getattr(api, public) for public in ("__all__", *api.__all__)})
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        # importing the module multiloss.backward would hide the function of that name
        same = name == "backward" and isinstance(value, ModuleType)
        super().__setattr__(name, value.backward if same else value)  # type: ignore[attr-defined]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.__all__})


sys.modules[__name__].__class__ = _Package
