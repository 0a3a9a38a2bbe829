"""``python -m components.stages.detect <run>``: fit the detectors and score the run's own view."""

from components.core.runtime import argument, run_command
from components.core.settings import Workspace
from components.stages.detect.nothing import is_asked, write_nothing


def main() -> None:
    workspace, run = Workspace(), argument("python -m components.stages.detect <run>")
    if not is_asked(workspace, run):
        write_nothing(workspace, run)
        return
    from components.stages.detect.run import detect  # torch comes with it

    detect(workspace, run)


if __name__ == "__main__":
    run_command(main)
