"""The only package that imports Prefect. Read ``pipeline.flow`` first; ``cli`` holds the commands.

``project`` is where a flow works, ``processes`` how it starts commands, ``settings`` what params.yaml says of operations.
"""
