"""How tests share several workers (pytest-xdist): live ones run alone, the others a file at a time on each worker.

1. The first worker gets all tests that make networks, switches or brokers, which other work on the machine would
   disturb. Meanwhile the other workers wait.
2. Once these have run, each worker gets files of the other tests, one after the other. A file stays on one worker, so
   that what its tests share is made once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from xdist.scheduler.load import LoadScheduling
from xdist.workermanage import WorkerController

LIVE = re.compile(r'(agent|live)_worlds import|needs?\("root|"mosquitto"|run_ovs')
"""What stands in the files of tests that must run alone."""


def is_live(file: Path) -> bool:
    """Say whether the tests of a file must run alone."""
    return LIVE.search(file.read_text()) is not None


class LiveFirst(LoadScheduling):
    """Hands out the live tests to one worker, then the others to all."""

    collection: list[str] | None
    alone: set[int]
    files: list[list[int]]

    def schedule(self) -> None:
        """Begin with step 1, or with step 2 where no test is live; called again for a worker in another's place."""
        if self.collection is not None or not self._check_nodes_have_same_collection():
            super().schedule()
            return
        self.collection = collected = list(next(iter(self.node2collection.values())))
        self.alone, self.files = in_order(collected, self.config.rootpath)
        self.pending[:] = [*sorted(self.alone), *(index for file in self.files for index in file)]
        if self.alone:
            # A worker begins with a test once it knows the next one: hence two that are not live behind the live ones.
            self._send_tests(self.nodes[0], len(self.alone) + 2)
        self.check_all()

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Note that a test has run; the last live one lets all workers begin with the others."""
        self.node2pending[node].remove(item_index)
        self.alone.discard(item_index)
        self.check_all()

    def check_all(self) -> None:
        """Look at what each worker has to do."""
        for node in self.nodes:
            self.check_schedule(node)

    def check_schedule(self, node: WorkerController, duration: float = 0) -> None:
        """Send a worker that has one test left, or none, the next file; let it end where there is no other."""
        if node.shutting_down or self.alone:
            return
        while self.pending and len(self.node2pending[node]) < 2:
            self._send_tests(node, self.rest_of_a_file())
        if not self.pending:
            node.shutdown()

    def rest_of_a_file(self) -> int:
        """Count the tests at the head of those to come that are of one file."""
        assert self.collection is not None
        names = [self.collection[index].split("::")[0] for index in self.pending]
        return next((i for i, name in enumerate(names) if name != names[0]), len(names))


def in_order(collection: Sequence[str], root: Path) -> tuple[set[int], list[list[int]]]:
    """Part tests, given by their names, into the live ones and the files of the others, the largest file first."""
    files: dict[str, list[int]] = {}
    for index, name in enumerate(collection):
        files.setdefault(name.split("::")[0], []).append(index)
    alone = {index for file, indices in files.items() if is_live(root / file) for index in indices}
    others = [indices for file, indices in files.items() if not alone.issuperset(indices)]
    return alone, sorted(others, key=len, reverse=True)
