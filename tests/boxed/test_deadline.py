"""The time limit of a call leaves nothing behind."""

import contextlib
import threading

from course_utils.boxed.deadline import TimeIsOver, deadline


def test_a_limit_that_is_over_at_once_leaves_no_watcher_that_goes_on_interrupting() -> None:
    before = threading.active_count()
    interrupted = 0
    for _ in range(50):
        with contextlib.suppress(TimeIsOver):
            interrupted += 1
            with deadline(0.0):
                pass
            interrupted -= 1
    assert interrupted and threading.active_count() == before


def test_a_watcher_ends_with_the_thread_that_it_watches() -> None:
    """Another thread may get the same number, and would be interrupted in its place."""
    entered = contextlib.ExitStack()

    def leave_without_a_word() -> None:
        entered.enter_context(deadline(0.05))

    before = set(threading.enumerate())
    thread = threading.Thread(target=leave_without_a_word)
    thread.start()
    thread.join()
    (watcher,) = set(threading.enumerate()) - before
    watcher.join(5)
    assert not watcher.is_alive()
    entered.close()
