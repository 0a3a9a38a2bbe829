"""A project with servers of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from operating import Home, alive, wait_for


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A project in which nothing has run; whatever was started in it is ended."""
    found = Home(tmp_path_factory.mktemp("operations") / "project")
    yield found
    found.flows("down")
    wait_for(lambda: not alive(found.folder), "the end of every process of the project", 60)
