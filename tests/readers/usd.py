"""USD by pxr: the camera through UsdGeomCamera and GfCamera, points and meshes in the world."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .scene import Scene, middles_of_octahedra

NO_PXR = 77


def find_pxr() -> bool:
    """Make `import pxr` work with the copy inside the bpy wheel; False where the wheel has none (before 4.5)."""
    for folder in list(sys.path):
        for site in Path(folder).glob("bpy/*/python/lib/python3.*/site-packages"):
            if (site / "pxr").is_dir() and str(site) not in sys.path:
                sys.path.append(str(site))
    try:
        from pxr import Usd  # noqa: F401
    except ImportError:
        return False
    return True


def read(path: Path) -> Scene:
    """The scene in a USD file."""
    from pxr import Usd, UsdGeom

    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    metres = UsdGeom.GetStageMetersPerUnit(stage)
    times = np.arange(stage.GetStartTimeCode(), stage.GetEndTimeCode() + 1)
    place = {"points": np.zeros((0, 3))}
    meshes, properties = {}, {}
    for prim in stage.Traverse():
        geometry = prim.GetTypeName()
        if geometry in ("Mesh", "Points"):
            matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(times[0]))  # of row vectors
            local = np.array(UsdGeom.PointBased(prim).GetPointsAttr().Get(times[0]), float)
            world = (local @ matrix[:3, :3] + matrix[3, :3]) * metres
            if prim.GetName() == "points":
                place["points"] = world if geometry == "Points" else middles_of_octahedra(world)
            else:
                meshes[prim.GetName()] = world
        elif geometry == "Camera":
            cameras = [UsdGeom.Camera(prim).GetCamera(time) for time in times]
            for attribute in prim.GetParent().GetAttributes():
                if "holdfast_" in attribute.GetName():
                    properties[attribute.GetName().rpartition(":")[2]] = float(attribute.Get(times[0]))
    poses = np.array([np.array(camera.transform).T for camera in cameras])
    poses[:, :3, 3] *= metres
    # GfCamera counts film and focal length in the same unit: a tenth of the scene's.
    return Scene(
        stage.GetTimeCodesPerSecond(),
        times.tolist(),
        poses,
        np.array([camera.focalLength for camera in cameras]),
        np.array([(camera.horizontalAperture, camera.verticalAperture) for camera in cameras]),
        np.array([(camera.horizontalApertureOffset, camera.verticalApertureOffset) for camera in cameras]),
        place["points"],
        meshes,
        properties,
    )


def read_elsewhere(path: Path) -> Scene | None:
    """The scene, read in a process of its own by a Python that has pxr; None where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scene.pickle"
        python = os.environ.get("HOLDFAST_PYTHON", sys.executable)
        command = [python, "-m", "tests.readers.usd", str(path), str(out)]
        done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True)
        if done.returncode == NO_PXR:
            return None
        assert done.returncode == 0, done.stderr
        return pickle.loads(out.read_bytes())


if __name__ == "__main__":
    if not find_pxr():
        sys.exit(NO_PXR)
    from tests.readers import usd  # the class must be found under its own name again

    Path(sys.argv[2]).write_bytes(pickle.dumps(usd.read(Path(sys.argv[1]))))
