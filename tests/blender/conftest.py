"""Blender for tests: skipped where there is none. The add-on is unregistered at the end, else Blender hangs at exit."""

from __future__ import annotations

import pytest

bpy = pytest.importorskip("bpy")


@pytest.fixture(scope="session")
def addon():
    import addon as module

    module.register()
    yield module
    module.unregister()


@pytest.fixture
def blender(addon):
    """Blender with its start-up file."""
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    return bpy
