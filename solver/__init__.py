"""Holdfast's solver: tracks the camera of a shot and rebuilds its scene. Runs on its own, without Blender."""

__version__ = "0.1.0"
SCHEMA_VERSION = 1
