"""Stage ``detect``: fit the detectors of a run and score the run's own view."""

from components.core.settings import Workspace
from components.stages.detect.nothing import is_asked, write_nothing


def run(workspace: Workspace, name: str) -> None:
    """Fit, save and score; nothing of the kind for a run of which no detector is asked."""
    if not is_asked(workspace, name):
        write_nothing(workspace, name)
        return
    from components.stages.detect.run import detect  # torch comes with it

    detect(workspace, name)
