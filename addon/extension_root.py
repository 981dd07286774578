# SPDX-License-Identifier: GPL-3.0-or-later
"""Holdfast. Packaged as the `__init__.py` of the installed extension, one level above `addon/` and `solver/`."""

from .addon import register, unregister

__all__ = ("register", "unregister")
