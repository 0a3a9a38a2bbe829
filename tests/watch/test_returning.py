"""The watch over a promotion: counted where it is served, returned once, by the journal; no data is no alarm."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from components.registry import model_registry as registry
from components.registry.promotion import audit
from components.registry.promotion.audit import Entry, now
from components.registry.promotion.contest import find_contest, rolled_back_from
from components.registry.promotion.journal import MOVING, RETURNED, complete, decide, decisions
from components.registry.promotion.standing import standing
from components.registry.watch.counting import count_rejected, counted
from components.registry.watch.returning import returned, see
from components.registry.watch.traffic import Recorder, read_traffic
from flows.decide import watching
from flows.decide.decisions import DecisionContext
from flows.processes import Ended

NAME = "study.small"
DAY = timedelta(days=1)


class Service:
    """Two champions and what they answered; ``promote`` makes a version the champion an hour ago."""

    def __init__(self, office, monkeypatch) -> None:
        self.office, self.client, self.said = office, office.client, []
        for weights in ("0a", "0b"):
            office.add(weights)
        self.promote(1, before=None, hours=30)
        self.promote(2, before=1, hours=1)
        office.home.write("params.yaml", office.home.folder.joinpath("params.yaml").read_text().replace("promote: {}", PROMOTE))
        self.context = DecisionContext(SimpleNamespace(workspace=office.workspace), "small", office.client, self.said.append)
        self.loads = 0
        monkeypatch.setattr("flows.decide.decisions._test", lambda *a: Ended(self.loads, ("unfit: it is broken",), 0.0, False))

    def promote(self, number: int, before: int | None, hours: float, action: str = "promoted") -> None:
        time = (now() - timedelta(hours=hours)).isoformat()
        decide(self.client, Entry(action, NAME, number, "ada", "", before=before, after=number, previous=before, time=time))

    def answer(self, number: int, good: int, bad: int = 0, at: float | None = None) -> None:
        recorder = Recorder(NAME, number, self.key(number))
        recorder._path = recorder._path.with_name(f"{good}-{bad}.json")  # as another process would
        for status, count in ((200, good), (500, bad)):
            for _ in range(count):
                recorder.answered(status, 0.002)
        if at is not None:
            recorder._slices = {int(now().timestamp() - 3600 * at): traffic for traffic in recorder._slices.values()}
        recorder.flush()

    def key(self, number: int) -> str:
        return self.office.tags(number)[registry.KEY]

    def look(self):
        return watching.look(self.context)


PROMOTE = "promote: {metric: accuracy, floor: 0.9, watch: 24h}"


@pytest.fixture
def service(quick_office, monkeypatch):
    return Service(quick_office, monkeypatch)


def test_a_worse_champion_is_returned_once_by_the_journal(service):
    service.answer(1, good=300, at=3)
    service.answer(2, good=150, bad=50)
    decision = service.look()
    assert "version 1 is the champion now (returned by monitor); it was version 2" in decision.words
    assert any(line.startswith("FAILED  errors") for line in service.said)
    assert service.office.aliases() == {"candidate": 2, "champion": 1, "previous": 2}
    assert (
        "25.00% of 200 requests were not answered (50 failed, 0 refused), 0.00% of 300 before"
        in service.office.tags(2)[RETURNED]
    )
    assert decisions(service.office.tags(1))[-1].action == "returned"
    assert audit.entries()[-1].comment.startswith("errors: 25.00%")
    (note,) = standing(service.client, service.office.workspace, "small").notes
    assert "version 1 is back: returned from version 2 by monitor" in note

    again = service.look()  # what was returned to is not watched: no flapping
    assert (again.entry, again.words) == (
        None,
        f"{NAME}: version 1 is not watched: it was returned by monitor at {decision.entry.time}",
    )
    contest = find_contest(service.client, service.office.workspace, "small", "d")
    assert rolled_back_from(service.client, contest) is not None  # so a timer cannot promote it again


def test_a_good_champion_stays_and_each_look_is_made_once(service):
    service.answer(1, good=300, at=3)
    service.answer(2, good=120)
    assert "errors: 0.00% of 120 requests" in service.look().words
    service.answer(2, good=40, bad=30)
    assert "does no worse than version 1 so far (190 requests, the next comparison is at 200)" in service.look().words
    service.answer(2, good=9, bad=11)
    assert service.look().entry.action == "returned"


def test_without_data_there_is_no_alarm_and_it_is_said(service):
    assert "version 2 is not compared with version 1 yet: 0 requests since" in service.look().words
    service.answer(2, good=0, bad=150)
    decision = service.look()
    assert decision.entry is None
    assert "errors: not compared: 150 requests, 0 before; 100 of each are needed" in decision.words


def test_what_the_old_champion_answered_long_ago_or_the_new_one_before_counts_for_nothing(service):
    service.answer(1, good=300, at=24 * 8)
    service.answer(2, good=100, bad=100, at=3)
    assert "0 requests since" in service.look().words


def test_only_a_promotion_within_the_hours_and_by_a_decision_is_watched(service):
    service.answer(1, good=300, at=3)
    service.answer(2, good=100, bad=100)
    assert see(service.client, NAME, 0.5, 0.001).words.startswith(f"{NAME}: version 2 is watched no more: 0.5 h have passed")
    assert service.office.aliases()["champion"] == 2
    registry.set_alias(service.client, NAME, "champion", 1)
    assert "is not watched: the alias champion was moved without a decision" in service.look().words


def test_the_first_champion_has_none_to_return_to(quick_office):
    quick_office.add("0a")
    decide(quick_office.client, Entry("promoted", NAME, 1, "ada", "", before=None, after=1, previous=None))
    assert "is the first champion" in see(quick_office.client, NAME, 24, 0.001).words


def test_a_champion_that_its_server_gave_up_is_returned_without_traffic(service, monkeypatch):
    monkeypatch.setattr(watching, "given_up", lambda name: "exit code 1; given up after 5 tries")
    assert service.look().entry.comment == "loads: the scoring server gave up: exit code 1; given up after 5 tries"


def test_an_old_champion_that_does_not_load_is_not_returned_to(service):
    service.answer(1, good=300, at=3)
    service.answer(2, good=100, bad=100)
    service.loads = 4
    with pytest.raises(Exception, match=r"it is broken; nothing was changed"):
        service.look()
    assert service.office.aliases()["champion"] == 2
    service.loads = 0
    assert service.look().entry.action == "returned"  # the alarm was not spent


def test_a_return_that_was_killed_half_way_is_completed_with_its_mark(service):
    service.answer(1, good=300, at=3)
    service.answer(2, good=100, bad=100)
    entry = returned(see(service.client, NAME, 24, 0.001))
    service.client.set_registered_model_tag(NAME, MOVING, entry.to_json())
    assert complete(service.client, NAME) == entry
    assert service.office.aliases()["champion"] == 1
    assert RETURNED in service.office.tags(2)


# -------------------------------------------------------------------------------------------------- the scoring server's side


def test_answers_are_counted_by_status_and_path(work):
    async def app(scope, receive, send):
        if scope["query_string"] == b"raise":
            raise RuntimeError
        await send({"type": "http.response.start", "status": int(scope["query_string"])})

    recorder = Recorder("m", 3, "k")
    wrapped = counted(app, recorder)

    async def ask(path: str, status: str) -> None:
        async def send(message) -> None: ...

        scope = {"type": "http", "path": path, "query_string": status.encode()}
        await wrapped(scope, None, send)

    for path, status in (
        ("/invocations", "200"),
        ("/predict", "200"),
        ("/predict", "400"),
        ("/invocations", "500"),
        ("/ping", "200"),
    ):
        asyncio.run(ask(path, status))
    with pytest.raises(RuntimeError):
        asyncio.run(ask("/predict", "raise"))
    recorder.flush()
    found = read_traffic("m", 3, "k", now() - DAY, now())
    assert (found.requests, found.failed, found.refused, found.latency.total()) == (5, 2, 1, 2)


def test_rejected_pictures_are_counted_once_on_every_way_through_the_model(work):
    class Served:
        def outputs_of(self, scores):
            return {"label": scores, "is_ood": scores > 1}

        def predict(self, inputs):
            return self.outputs_of(inputs)

    served, recorder = Served(), Recorder("m", 1, "k")
    count_rejected(served, recorder)
    served.predict(np.array([0, 1, 2, 3]))
    served.outputs_of(np.array([5]))
    recorder.flush()
    found = read_traffic("m", 1, "k", now() - DAY, now())
    assert (found.pictures, found.rejected) == (5, 3)
    assert read_traffic("m", 1, "another", now() - DAY, now()).pictures == 0
