"""The graph of a workspace's stages, by their names."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from components.core.config.strict import SettingsError


@dataclass(frozen=True)
class Graph:
    """``needs``: stage -> the stages whose outs it depends on. Its order is that of dvc.yaml."""

    needs: Mapping[str, frozenset[str]]

    def of(self, targets: Iterable[str]) -> Graph:
        """Return the targets and all that they need; SettingsError if there is no such stage."""
        todo, chosen = list(targets), set[str]()
        if missing := set(todo) - set(self.needs):
            raise SettingsError(f"dvc.yaml has no stage {', '.join(sorted(missing))}")
        while todo:
            name = todo.pop()
            if name not in chosen:
                chosen.add(name)
                todo += self.needs[name]
        return Graph({name: needed for name, needed in self.needs.items() if name in chosen})

    def order(self) -> list[str]:
        """Sort the stages topologically, otherwise as in dvc.yaml. ValueError for a cycle."""
        position = {name: number for number, name in enumerate(self.needs)}
        names, left = list(self.needs), {name: len(needed) for name, needed in self.needs.items()}
        users: dict[str, list[str]] = {name: [] for name in names}
        for name, needed in self.needs.items():
            for other in needed:
                users[other].append(name)
        ready = [position[name] for name, number in left.items() if not number]
        heapq.heapify(ready)
        ordered = []
        while ready:
            name = names[heapq.heappop(ready)]
            ordered.append(name)
            for user in users[name]:
                left[user] -= 1
                if not left[user]:
                    heapq.heappush(ready, position[user])
        if len(ordered) < len(names):
            raise ValueError("the stages need each other in a circle")
        return ordered
