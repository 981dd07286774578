// Job type for Blender's farm manager Flamenco 3: solves the shots of a list or folder on several workers.
// Put this file into the `scripts` folder beside the Flamenco Manager.
//
// Every task runs the same batch on the same folder. The runs share the work through lock files: a shot is solved by
// one worker, a shot whose worker died is taken over by another, and each task ends when all shots are done.

const JOB_TYPE = {
    label: "Holdfast: track shots",
    description: "Track the cameras of many shots. All workers must see the same files under the same paths.",
    settings: [
        { key: "shots", type: "string", required: true, visible: "submission", description: "Shot list (.csv, .toml) or folder of clips" },
        { key: "output", type: "string", subtype: "dir_path", required: true, visible: "submission", description: "Folder for results and report" },
        { key: "workers", type: "int32", default: 4, visible: "submission", description: "How many workers take part" },
        { key: "options", type: "string", default: "", visible: "submission", description: "Further options of `python -m solver batch`" },
        { key: "blender", type: "string", default: "", visible: "submission", description: "Blender 4.2 or newer that makes a .blend and exports of every shot, for example {blender}; empty: cameras without scenes" },
        { key: "python", type: "string", default: "python3", visible: "submission", description: "Python 3.11 or newer with Holdfast's requirements" },
        { key: "holdfast", type: "string", subtype: "dir_path", required: true, visible: "submission", description: "Folder that holds Holdfast's `solver`" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from solver.cli import main; sys.exit(main(sys.argv[1:]))";
    const extra = (settings.options || "").split(" ").filter(function (word) { return word.length > 0; });
    if (settings.blender) {
        extra.unshift("--blender=" + settings.blender);
    }
    const count = Math.max(1, settings.workers);
    for (let i = 1; i <= count; i++) {
        const task = author.Task("solve-" + i, "misc");
        task.addCommand(author.Command("exec", {
            exe: settings.python,
            args: ["-c", start, settings.holdfast, "batch", settings.shots, "--out", settings.output].concat(extra),
        }));
        job.addTask(task);
    }
}
