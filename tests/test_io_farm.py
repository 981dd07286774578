"""Batches on many machines through engines that exist: Dask's scheduler and workers, and the farm's job type."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tests.io_batch import ROOT, Place, wait_for
from tests.io_synthetic import write_movie


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_dask_with_a_worker_killed(place):
    """A real scheduler, three worker processes, one killed in the middle of its shot: every shot is solved in the end."""
    pytest.importorskip("distributed")
    for i in range(5):
        write_movie(place.clips / f"s{i}.mp4", 5)
    scheduler_file = place.folder / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli"]
    start = textwrap.dedent("""
        import sys
        from distributed.cli import dask_scheduler, dask_worker
        (dask_scheduler if sys.argv.pop(1) == "scheduler" else dask_worker).main()
    """)
    dask = [sys.executable, "-c", start]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**place.environment, "SOLVE_SECONDS": "2"}
    options = ["--scheduler-file", str(scheduler_file)]
    processes = [subprocess.Popen([*dask, "scheduler", *options, "--port", "0", "--no-dashboard"], env=environment, **quiet)]
    try:
        # whole: it is there for a moment before anything is in it, and workers would read it then, too
        wait_for(lambda: scheduler_file.exists() and scheduler_file.read_text().rstrip().endswith("}"), 30)
        for i in range(3):
            arguments = ["worker", *options, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", f"w{i}"]
            processes.append(subprocess.Popen([*dask, *arguments], env=environment, cwd=place.folder, **quiet))
        address = json.loads(scheduler_file.read_text())["address"]
        run = place.start("--dask", address, "--export", "none")
        wait_for(lambda: len(place.solves()) >= 3, 60)
        processes[2].kill()
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, out + err
        assert all((place.out / f"s{i}" / "solve.json").exists() for i in range(5))
        assert len(place.solves()) == 6 and len(set(place.solves())) == 5  # the interrupted one twice
        assert place.report()["throughput"]["workers"] >= 1
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_dask_errors(place):
    pytest.importorskip("distributed")
    write_movie(place.clips / "a.mp4", 4)
    code, events = place.run("--dask", "not an address")
    assert code == 103 and events[-1]["code"] == "batch.dask"


def test_flamenco_job_type_shares_the_list_among_workers(place):
    """The farm's job type, run by a JavaScript engine; its commands are run as the farm's workers would."""
    quickjs = pytest.importorskip("quickjs")
    context = quickjs.Context()
    context.eval("""
        var tasks = [];
        var author = {
            Task: function(name, type) {
                return {name: name, type: type, commands: [], addCommand: function(c) { this.commands.push(c); }};
            },
            Command: function(name, parameters) { return {name: name, parameters: parameters}; }
        };
        var job = {addTask: function(task) { tasks.push(task); }};
    """)
    context.eval((ROOT / "solver" / "farm" / "holdfast-solve.js").read_text().replace("const JOB_TYPE", "var JOB_TYPE"))
    settings = json.loads(context.eval("JSON.stringify(JOB_TYPE.settings)"))
    assert all({"key", "type", "description"} <= set(setting) for setting in settings)
    values = {setting["key"]: setting.get("default", "") for setting in settings}
    write_movie(place.clips / "a.mp4", 4)
    values |= {"shots": str(place.clips), "output": str(place.out), "holdfast": str(ROOT), "python": sys.executable}
    values |= {"workers": 2, "options": "--quality draft  --export none"}
    context.eval(f"job.settings = {json.dumps(values | {'blender': '{blender}'})}; compileJob(job);")
    with_scenes = json.loads(context.eval("JSON.stringify(tasks.splice(0))"))
    assert all("--blender={blender}" in task["commands"][0]["parameters"]["args"] for task in with_scenes)
    context.eval(f"job.settings = {json.dumps(values)}; compileJob(job);")
    tasks = json.loads(context.eval("JSON.stringify(tasks)"))
    assert len(tasks) == 2 and all(task["commands"][0]["name"] == "exec" for task in tasks)
    runs = [[c["parameters"]["exe"], *c["parameters"]["args"]] for task in tasks for c in task["commands"]]
    processes = [
        subprocess.Popen(run, env={**place.environment, "PYTHONPATH": str(place.folder / "site")}, cwd="/") for run in runs
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert place.solves() == ["a.mp4"] and (place.out / "a" / "solve.json").exists()
