"""The only room that knows Prefect. Read ``pipeline.flow`` first; ``cli`` holds the commands.

``project`` is where a flow works, ``processes`` how it starts commands, ``settings`` what params.yaml says of operations.
"""
