"""What a server answers in pages is read to the last one."""

from types import SimpleNamespace

import pytest

from components.registry import model_registry
from components.registry.record.clearing import all_models


class Page(list):
    """Answer number ``number`` of three, as MLflow gives it."""

    def __init__(self, number: int):
        super().__init__([SimpleNamespace(name=f"m{number}", version=str(number))])
        self.token = None if number == 2 else str(number + 1)


class Paged:
    """A client whose every search is answered in three pages."""

    def __getattr__(self, name: str):
        def search(*_: object, page_token: str | None = None, **__: object) -> Page:
            return Page(int(page_token or 0))

        assert name.startswith("search_")
        return search


@pytest.mark.parametrize(
    "search",
    [
        lambda client: model_registry.versions(client, "m"),
        model_registry.registered_models,
        lambda client: model_registry.all_runs(client, ["1"]),
        lambda client: all_models(client, ["1"]),
    ],
    ids=["versions", "registered models", "runs", "logged models"],
)
def test_every_page_is_read(search):
    assert [entry.version for entry in search(Paged())] == ["0", "1", "2"]
