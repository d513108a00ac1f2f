"""The command `xbar-spice`: thin verbs over the package."""

from xbar_spice.cli.app import main

__all__ = ["main"]
