"""Tell a kernel that sleeps for good from a cell that takes its time.

Now and then a message between a client and its kernel is lost: it lies in a socket, and nobody wakes up to read it
(ipykernel 7 before 7.4 on busy machines: ipython/ipykernel issues 1471 and 1554). Then each waits for the other. From
outside this looks like a cell that waits for something: no message, no computing, no end. What tells them apart:

* A kernel says at once which request it takes up ("busy", on the channel of outputs). A cell that sleeps, or waits for
  the network or a program, has been announced in this way; a request that was lost has not.
* A kernel works on one request at a time. While a cell runs, whatever it waits for (`await` included), a question on a
  second connection is not answered. If it is, then the kernel is free, and what was lost is the end of the cell, or its
  beginning.
* The heartbeat and the control channel tell nothing: they have threads of their own, which answer in either case. Input
  cannot be waited for: a kernel without a person refuses it.

So the question is asked after half of `PATIENCE` seconds of silence: no message, and next to no computing by the kernel
and its children. A new connection often wakes the sleeper, and the lesson goes on. After all of `PATIENCE` the kernel is
lost, unless it is busy with the request and has left the question open: then it is the cell that waits, and the limit of
its seconds counts. That limit alone counts as well for a kernel that computes in a thread beside a cell that sleeps.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

PATIENCE = 30.0  # seconds
NOTHING = 0.01  # of a processor, and so many seconds beside: a kernel that sleeps wakes now and then for itself
MOMENT = 0.05


class Asks(Protocol):
    """A second connection to a kernel."""

    def ask(self) -> str:
        """Ask the kernel something; returns the question's name."""
        ...

    def answers(self) -> set[str]:
        """The names of the questions that were answered since the last call."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class SecondConnection:
    """A connection to the kernel of `manager`, over which it is asked about itself; for one thread."""

    def __init__(self, manager: Any) -> None:
        self._client = manager.blocking_client()
        self._client.start_channels(shell=True, iopub=False, stdin=False, hb=False, control=False)

    def ask(self) -> str:
        """Send a question."""
        return self._client.kernel_info()

    def answers(self) -> set[str]:
        """What has come back since the last call."""
        answered = set[str]()
        with contextlib.suppress(queue.Empty):
            while True:
                answered.add(self._client.get_shell_msg(timeout=0)["parent_header"].get("msg_id", ""))
        return answered

    def close(self) -> None:
        """End the connection: an open one would keep the process from ending."""
        self._client.stop_channels()


class Silence:
    """Notices a kernel that sleeps for good. The client says what it waits for and hears; another thread calls `lost`."""

    def __init__(self, connect: Callable[[], Asks], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect, self._clock = connect, clock
        self._connection: Asks | None = None
        self._waiting = self._begun = False
        self._heard = 0  # messages, to see whether there were more
        self._last = (0.0, 0.0, 0)  # when the silence began, what was computed and heard by then
        self._question, self._is_free = "", False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While the client waits for a request to be fulfilled: a cell, or something that is done at once."""
        self._begun, self._waiting = False, True
        self._heard += 1
        try:
            yield
        finally:
            self._waiting = False

    def hear(self) -> None:
        """A message about the cell has come; the first says that the kernel has begun with it."""
        self._heard += 1
        self._begun = True

    def lost(self, computed: float) -> bool:
        """Whether the kernel sleeps for good. `computed` are the seconds that it and its children have computed."""
        now = self._clock()
        since, then, heard = self._last
        if not self._waiting or self._heard != heard or abs(computed - then) > MOMENT + NOTHING * (now - since):
            self._last, self._question, self._is_free = (now, computed, self._heard), "", False
            return False
        if now - since > PATIENCE / 2 and not self._question:
            self._connection = self._connection or self._connect()
            self._question = self._connection.ask()
        if self._question and self._connection:
            self._is_free = self._is_free or self._question in self._connection.answers()
        return now - since > PATIENCE and (self._is_free or not self._begun)

    def close(self) -> None:
        """End the second connection, if there is one; when the kernel has ended, which may still want to answer."""
        if self._connection:
            self._connection.close()
