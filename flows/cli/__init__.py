"""The commands, in the order of --help. Read ``run`` first, then ``decide``. All modules are light to import.

A command ``x`` is two functions of its module: ``x_arguments(parser)``, and ``x(arguments) -> exit code``, whose docstring is
the text of ``python -m flows x --help``.
"""

COMMANDS = {  # name -> module, summary in --help
    "new": ("flows.cli.authoring.new", "look at a folder of pictures; write dataset, view and run into params.yaml"),
    "run": ("flows.cli.run", "run the stale stages, publish the results"),
    "plan": ("flows.cli.run", "show what run would do and why"),
    "predict": ("flows.cli.models.predict", "classify or translate pictures: a CSV file and a page of them"),
    "search": ("flows.cli.models.search", "find the pictures that fit a text: a CSV file and a page of them"),
    "sample": ("flows.cli.models.sample", "draw pictures with a generator"),
    "write": ("flows.cli.models.write", "set a text in handwriting, in a translator's style"),
    "sound": ("flows.cli.models.sound", "translate recordings into another voice, or play pictures of sound: a WAV file"),
    "image": ("flows.cli.models.image", "write a container context that serves a run's model"),
    "seeds": ("flows.cli.authoring.seeds", "repeat a run with other seeds"),
    "sweep": ("flows.cli.authoring.sweep", "search for better settings of a run"),
    "diff": ("flows.cli.authoring.diff", "show what changed in a view between two commits"),
    "graph": ("flows.cli.authoring.graph", "copy dvc.yaml into the studies"),
    "docs": ("flows.cli.authoring.docs", "write docs/settings.md from the settings' classes"),
    "carry": ("flows.cli.authoring.carry", "accept a training's results for edited code, if both codes compute the same bits"),
    "doctor": ("flows.cli.upkeep", "find and, with --fix, repair what killed processes left behind"),
    "gc": ("flows.cli.upkeep", "remove old checkpoints, unreferenced MLflow runs, unused DVC cache"),
    "promote": ("flows.cli.decide", "make the candidate the champion if it passes the run's gates"),
    "approve": ("flows.cli.decide", "promote the version that waits for approval"),
    "reject": ("flows.cli.decide", "do not promote the version that waits for approval"),
    "rollback": ("flows.cli.decide", "make the previous champion the champion again"),
    "compare": ("flows.cli.models.compare", "compare two model versions: metrics, paired test, which pictures flip"),
    "latency": ("flows.cli.models.latency", "measure exports together: milliseconds, size, multiply-adds"),
    "monitor": ("flows.cli.monitor", "score new images with the champion's detector and test for drift"),
    "status": ("flows.cli.status", "show each run's champion: since when, on which data, by which commit"),
    "lineage": ("flows.cli.status", "trace a model version back to data, parameters and code"),
    "up": ("flows.cli.up", "start the servers, the schedules and the scoring servers"),
    "down": ("flows.cli.down", "stop what up started"),
    "serve": ("flows.cli.serve", "run the deployments against a Prefect server (part of up)"),
    "worker": ("flows.cli.serve", "execute runs of a Prefect work pool in this clone"),
    "notify": ("flows.cli.monitor", "show the receivers of notifications; --test sends each a message"),
}
