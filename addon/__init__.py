# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything of Holdfast that touches Blender.

The solver is a process of its own; the two sides share the job folder (`solve.json`, `*.npz`) and nothing else.
Modules that need no Blender (`events`, `job`, `coordinates`, `jobfolder`, `orientation`) can be imported without it.
"""

from __future__ import annotations

import importlib

# In the order they register; the reverse is the order they go.
_MODULES = (
    "preferences",
    "networks",
    "properties",
    "refine_properties",
    "session",
    "overlay",
    "following",
    "proxy_material",
    "compositing",
    "persistence",
    "operators",
    "operators_scene",
    "operators_fix",
    "operators_refine",
    "track_table",
    "error_graph",
    "asset_drop",
    "panels",
    "panels_refine",
    "cli",
)

_registered: list = []


def register() -> None:
    """Make everything known to Blender. If one part fails, those before it are taken back first."""
    unregister()
    try:
        for name in _MODULES:
            module = importlib.import_module("." + name, __package__)
            module.register()
            _registered.append(module)
    except Exception:
        unregister()
        raise


def unregister() -> None:
    """Take everything back: classes, properties, timers, handlers, running solves."""
    while _registered:
        _registered.pop().unregister()
