"""Training of neural ODEs on digital operators: data sets, losses and the named tasks.

The package and its main function have one name: `xs.train("digits-conv")` trains, whatever was imported before.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is called as the function of its name."""

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function, by which `inspect` knows the arguments."""
        from xbar_spice.train.training import train  # noqa: PLC0415 - SciPy is imported when something is trained

        return train

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)


sys.modules[__name__].__class__ = _Callable
