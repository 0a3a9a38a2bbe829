"""The commands, a module each: ``HELP``, ``arguments(parser)``, ``main(arguments) -> exit code``. Light to import."""

COMMANDS = {
    "run": "flows.commands.run",
    "plan": "flows.commands.plan",
}
