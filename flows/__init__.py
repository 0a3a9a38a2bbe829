"""The only package that imports Prefect. Read ``pipeline.flow`` first; ``cli`` holds the commands.

``project``: repository and workspace; ``processes``: child processes; ``settings``: settings of operations in params.yaml.
"""
