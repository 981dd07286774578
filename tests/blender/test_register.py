"""Register, unregister, register leaves nothing behind; every setting and button explains itself."""

from __future__ import annotations

import inspect


def known(bpy):
    classes = {name for name in dir(bpy.types) if "HOLDFAST" in name.upper()}
    operators = set(dir(bpy.ops.holdfast)) if hasattr(bpy.ops, "holdfast") else set()
    return (
        classes,
        {name for name in operators if not name.startswith("_")},
        hasattr(bpy.types.Scene, "holdfast"),
        hasattr(bpy.types.MovieClip, "holdfast"),
    )


def handlers(bpy):
    return {name: len(value) for name, value in inspect.getmembers(bpy.app.handlers) if isinstance(value, list)}


def test_register_twice_leaves_nothing(blender, addon):
    full, before = known(blender), handlers(blender)
    assert full[2]
    assert len(full[0]) > 10
    addon.unregister()
    try:
        classes, operators, scene, clip = known(blender)
        assert not classes
        assert not operators
        assert not scene
        assert not clip
        addon.unregister()  # harmless
        addon.register()
        addon.unregister()
        assert not known(blender)[0]
        assert all(count <= before[name] for name, count in handlers(blender).items())
    finally:
        addon.register()
    assert known(blender) == full
    assert handlers(blender) == before


def test_everything_has_a_tooltip(blender):
    """Words that help: a sentence, not the name again."""
    missing = []

    def helps(text, least, name):
        words = text.strip()
        return len(words) >= least and words.lower().rstrip(".") != name.lower()

    for name in dir(blender.types):
        cls = getattr(blender.types, name)
        if not name.startswith("HOLDFAST_") or not hasattr(cls, "bl_rna"):
            continue
        if issubclass(cls, blender.types.Operator):
            operator = getattr(blender.ops.holdfast, cls.bl_idname.split(".")[1])
            kind = operator.get_rna_type()
            if not helps(kind.description, 20, kind.name):
                missing.append(name)
        for key in getattr(cls, "__annotations__", {}):
            prop = cls.bl_rna.properties.get(key)
            if prop is not None and not helps(prop.description, 12, prop.name):
                missing.append(f"{name}.{key}")
            for item in getattr(prop, "enum_items", ()) or ():
                if not helps(item.description, 8, item.name):
                    missing.append(f"{name}.{key}.{item.identifier}")
    assert not missing


def test_unregister_ends_running_solves(blender, addon, tmp_path):
    import sys
    import time

    from addon import session
    from addon.job import SolverJob

    job = SolverJob([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    session.jobs["x"] = session.ShotJob(job, "c", "x", "s", "AUTO")
    job.start()
    begun = time.monotonic()
    addon.unregister()
    try:
        assert job.state.value == "cancelled"
        assert job._process.poll() is not None
        assert time.monotonic() - begun < 2.0
        assert not session.jobs
    finally:
        addon.register()
