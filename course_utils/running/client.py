"""Papermill's engine, which tells how far it is and asks the kernel what outputs do not show (see `in_kernel`).

Imported by `worker` alone, since papermill takes a second to load.
"""

from __future__ import annotations

import ast
import contextlib
import json
from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

from course_utils.notebooks.ipynb import tags
from course_utils.running import failures
from course_utils.running.outcomes import collect
from course_utils.running.silence import SecondConnection, Silence
from course_utils.running.watch import Watch

INSTALL = "__import__('importlib').import_module('course_utils.running.in_kernel').install()"
REPORT = "__import__('sys').modules['course_utils.running.in_kernel'].report()"


class Client(PapermillNotebookClient):
    """Papermill's client; what it learns goes to `watch`."""

    def __init__(self, nb_man: Any, watch: Watch, **options: Any) -> None:
        super().__init__(nb_man, **options)
        self.watch = watch
        self.watch.silence = self._silence = Silence(lambda: SecondConnection(self.km))
        self.on_cell_executed = self._after_cell

    def papermill_execute_cells(self) -> None:
        """Execute all cells, between asking the kernel to take note and reading what it noted."""
        if self._ask(INSTALL) is None:
            self._break_off("the kernel cannot import course_utils: run `pip install -e .` in its environment")
        super().papermill_execute_cells()
        with contextlib.suppress(DeadKernelError):
            answer = self._ask(REPORT)
            self.watch.findings = json.loads(ast.literal_eval(answer)) if answer else None

    def execute_cell(self, cell: Any, cell_index: int, *arguments: Any, **named: Any) -> Any:
        """Execute one cell, saying which; a kernel that is stuck is killed, not asked to leave."""
        if cell.cell_type == "code" and cell.source.strip() and "injected-parameters" not in tags(cell):
            self.watch.enter(failures.name_cell(self.watch.cell + 1, cell))
        try:
            with self._silence.waiting():
                return super().execute_cell(cell, cell_index, *arguments, **named)
        except CellTimeoutError:
            self.shutdown_kernel = "immediate"
            raise

    def wait_for_reply(self, *arguments: Any, **named: Any) -> Any:
        """Wait for the reply to a request that is no cell."""
        with self._silence.waiting():
            return super().wait_for_reply(*arguments, **named)

    def process_message(self, *arguments: Any, **named: Any) -> Any:
        """Take in what the kernel says about the cell at hand."""
        self._silence.hear()
        return super().process_message(*arguments, **named)

    def _after_cell(self, cell: Any, execute_reply: dict[str, Any], **_: Any) -> None:
        """Tell what the cell reported. After quit() the kernel says politely that it will end; papermill runs into that
        some cells later."""
        self.watch.note(*collect([cell]))
        if any(item.get("source") == "ask_exit" for item in execute_reply["content"].get("payload", [])):
            self._break_off(f"{self.watch.label} ended the kernel with quit() or exit()")

    def _break_off(self, problem: str) -> None:
        self.watch.problem = problem
        raise RuntimeError(problem)

    def _ask(self, expression: str) -> str | None:
        """The value of an expression in the kernel, as text; leaves no trace in the notebook."""
        assert self.kc is not None
        message = self.kc.execute("", silent=True, store_history=False, user_expressions={"answer": expression})
        reply = self.wait_for_reply(message)
        answer = (reply or {}).get("content", {}).get("user_expressions", {}).get("answer", {})
        return answer["data"]["text/plain"] if answer.get("status") == "ok" else None


class Engine(NBClientEngine):
    """Registered with papermill as "course"; takes the `Watch` as an engine argument."""

    @classmethod
    def execute_managed_notebook(  # the signature is papermill's
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **options: Any,
    ) -> Any:
        """Execute the notebook that `nb_man` holds."""
        client = Client(
            nb_man,
            options["watch"],
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            timeout=execution_timeout,
            iopub_timeout=execution_timeout or 3600,  # `silence` is quicker where an end is lost
        )
        return client.execute()


papermill_engines.register("course", Engine)
