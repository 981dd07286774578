# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects Holdfast makes for a clip: how they are marked, found again and replaced, so that nothing else is ever touched."""

from __future__ import annotations

import bpy

CLIP_KEY = "holdfast_clip"  # custom property: id of the clip an object was made for
ROLE_KEY = "holdfast_role"  # custom property: what it is
RIDES_KEY = "holdfast_rides"  # custom property of the artist's own objects: id of the clip whose scene they go along with

COLLECTION, PARENT, CAMERA, POINTS, PATH, GROUND, PROXY, PROP, LIGHT = (
    "collection",
    "parent",
    "camera",
    "points",
    "path",
    "ground",
    "proxy",
    "prop",
    "light",
)


def tagged(scene: bpy.types.Scene, uid: str, role: str) -> list[bpy.types.Object]:
    """Objects of a scene made for a clip in a role, by name."""
    return sorted((ob for ob in scene.objects if ob.get(CLIP_KEY) == uid and ob.get(ROLE_KEY) == role), key=lambda ob: ob.name)


def riders(scene: bpy.types.Scene, uid: str) -> list[bpy.types.Object]:
    """What stands in a clip's scene and goes along when that is moved: props, and objects of the artist's that were put there."""
    return sorted(
        (
            ob
            for ob in scene.objects
            if (ob.get(CLIP_KEY) == uid and ob.get(ROLE_KEY) == PROP) or (ob.get(RIDES_KEY) == uid and ROLE_KEY not in ob)
        ),
        key=lambda ob: ob.name,
    )


def find(scene: bpy.types.Scene, uid: str, role: str) -> bpy.types.Object | None:
    """The object of a role, or None."""
    found = tagged(scene, uid, role)
    return found[0] if found else None


def find_collection(scene: bpy.types.Scene, uid: str) -> bpy.types.Collection | None:
    """The clip's collection in a scene."""
    for collection in scene.collection.children_recursive:
        if collection.get(CLIP_KEY) == uid and collection.get(ROLE_KEY) == COLLECTION:
            return collection
    return None


def ensure_collection(scene: bpy.types.Scene, uid: str, name: str) -> bpy.types.Collection:
    """The clip's collection, made and linked where it is missing."""
    collection = find_collection(scene, uid)
    if collection is None:
        collection = bpy.data.collections.new(name)
        collection[CLIP_KEY], collection[ROLE_KEY] = uid, COLLECTION
        scene.collection.children.link(collection)
    return collection


def ensure_object(
    scene: bpy.types.Scene, collection: bpy.types.Collection, uid: str, role: str, name: str, data: bpy.types.ID | None
) -> bpy.types.Object:
    """The object of a role with this data. One that exists is kept (constraints and links of others to it live on) and its
    data exchanged.
    """
    ob = find(scene, uid, role)
    if ob is None:
        ob = bpy.data.objects.new(name, data)
        tag(ob, uid, role)
        collection.objects.link(ob)
    elif data is not None and ob.data != data:
        old = ob.data
        ob.data = data
        drop_data(old)
    return ob


def tag(ob: bpy.types.Object, uid: str, role: str) -> None:
    """Mark an object as made for a clip."""
    ob[CLIP_KEY], ob[ROLE_KEY] = uid, role


def remove(scene: bpy.types.Scene, uid: str, *roles: str) -> None:
    """Remove what was made in these roles, with its data."""
    for role in roles:
        for ob in tagged(scene, uid, role):
            data = ob.data
            bpy.data.objects.remove(ob)
            drop_data(data)


def drop_data(data: bpy.types.ID | None) -> None:
    """Remove a mesh, curve, camera or light nobody uses any more."""
    if data is None or data.users:
        return
    for store in (bpy.data.meshes, bpy.data.curves, bpy.data.cameras, bpy.data.lights):
        if data.name in store and store[data.name] == data:
            store.remove(data)
            return


def uid_of(ob: bpy.types.Object | None) -> str:
    """Id of the clip an object was made for; empty for others."""
    return str(ob.get(CLIP_KEY, "")) if ob is not None else ""
