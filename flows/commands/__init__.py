"""The commands, a module each: ``HELP``, ``arguments(parser)``, ``main(arguments) -> exit code``. Light to import."""

COMMANDS = {
    "run": "flows.commands.run",
    "plan": "flows.commands.plan",
    "doctor": "flows.commands.doctor",
    "gc": "flows.commands.gc",
    "promote": "flows.commands.promote",
    "approve": "flows.commands.approve",
    "reject": "flows.commands.reject",
    "rollback": "flows.commands.rollback",
    "monitor": "flows.commands.monitor",
    "status": "flows.commands.status",
    "lineage": "flows.commands.lineage",
    "up": "flows.commands.up",
    "down": "flows.commands.down",
    "serve": "flows.commands.serve",
    "worker": "flows.commands.worker",
    "notify": "flows.commands.notify",
}
