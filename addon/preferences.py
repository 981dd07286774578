# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

# "bl_ext.user_default.holdfast" when installed, "addon" in the repository.
ROOT_PACKAGE = __package__.rpartition(".")[0] or __package__


class HOLDFAST_Preferences(bpy.types.AddonPreferences):
    """How the solver is run, for all files."""

    bl_idname = ROOT_PACKAGE

    python: StringProperty(
        name="Python",
        subtype="FILE_PATH",
        default="",
        description="Python program that runs the solver. Empty: Blender's own, with the libraries Holdfast brings along",
    )
    threads: IntProperty(
        name="Threads",
        default=0,
        min=0,
        max=256,
        description="Processor cores the solver may use. 0: all; lower it to keep the machine responsive during a solve",
    )
    device: EnumProperty(
        name="Depth Runs On",
        default="auto",
        items=(
            ("auto", "Best Available", "The graphics card where it works, else the processor"),
            ("cpu", "Processor", "Always the processor"),
            ("cuda", "NVIDIA Card", "The graphics card; an error where it cannot be used"),
        ),
        description="Where the depth network is computed",
    )
    cache: StringProperty(
        name="Folder for Unsaved Files",
        subtype="DIR_PATH",
        default="",
        description="Where solves go while the .blend file has not been saved. Empty: the system's temporary folder",
    )

    mirror: StringProperty(
        name="Download Mirror",
        default="",
        description="Web address of a folder that holds the networks' files, instead of their own addresses",
    )

    def draw(self, context: bpy.types.Context) -> None:
        from . import networks

        layout = self.layout
        layout.use_property_split = True
        for name in ("python", "threads", "device", "cache", "mirror"):
            layout.prop(self, name)
        layout.use_property_split = False
        networks.draw(layout.box(), context)


class DefaultPreferences:
    """Stands in where the add-on runs without being enabled (the bpy module, tests)."""

    python, threads, device, cache, mirror = "", 0, "auto", "", ""


def get(context: bpy.types.Context | None = None):
    """The preferences in force."""
    entry = (context or bpy.context).preferences.addons.get(ROOT_PACKAGE)
    return entry.preferences if entry and entry.preferences else DefaultPreferences()


def register() -> None:
    bpy.utils.register_class(HOLDFAST_Preferences)


def unregister() -> None:
    bpy.utils.unregister_class(HOLDFAST_Preferences)
