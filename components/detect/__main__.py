"""``python -m components.detect <run>``: fit the detectors on the run's training images, and score the run's own view."""

from components.detect.nothing import is_asked, write_nothing
from components.runtime import argument, run_command
from components.settings import Workspace


def main() -> None:
    workspace, run = Workspace(), argument("python -m components.detect <run>")
    if not is_asked(workspace, run):
        write_nothing(workspace, run)
        return
    from components.detect.run import detect  # torch comes with it

    detect(workspace, run)


if __name__ == "__main__":
    run_command(main)
