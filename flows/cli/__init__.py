"""The commands, in the order of --help. Read ``run`` first, then ``decide``. All modules are light to import.

A command ``x`` is two functions of its module: ``x_arguments(parser)``, and ``x(arguments) -> exit code``, whose docstring is
the text of ``python -m flows x --help``.
"""

COMMANDS = {  # name -> module, what --help says in one line
    "run": ("flows.cli.run", "run what is stale, publish the results"),
    "plan": ("flows.cli.run", "show what run would do, and why"),
    "graph": ("flows.cli.graph", "copy dvc.yaml into the studies"),
    "carry": ("flows.cli.carry", "keep a training's results under edited code, if its bits are proven the same"),
    "doctor": ("flows.cli.upkeep", "find, and with --fix mend, what killed processes left behind"),
    "gc": ("flows.cli.upkeep", "remove old checkpoints, unreferenced MLflow runs, unused DVC cache"),
    "promote": ("flows.cli.decide", "make the candidate the champion, if it passes the run's gates"),
    "approve": ("flows.cli.decide", "promote the version that waits for approval"),
    "reject": ("flows.cli.decide", "do not promote the version that waits for approval"),
    "rollback": ("flows.cli.decide", "make the previous champion the champion again"),
    "monitor": ("flows.cli.monitor", "score new images with the champion's detector, tell whether they have drifted"),
    "status": ("flows.cli.status", "what is champion, since when, on which data, by which commit"),
    "lineage": ("flows.cli.status", "from a model version back to data, parameters, code"),
    "up": ("flows.cli.up", "start the servers, the schedules and the scoring servers"),
    "down": ("flows.cli.down", "end what up started"),
    "serve": ("flows.cli.serve", "run the deployments against a Prefect server (part of up)"),
    "worker": ("flows.cli.serve", "take runs from a Prefect work pool and run them in this clone"),
    "notify": ("flows.cli.monitor", "show who is notified; --test sends each a message"),
}
