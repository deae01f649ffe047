"""Executes one notebook in a fresh tslab kernel, for runner.ts: `execute.py NOTEBOOK SECONDS START_SECONDS [ANSWERS]`.

ANSWERS is a file with answers to the notebook's exercises, which runs as a last code cell. Prints one JSON object a line: the kernel's process id, each cell as it ends, and the outcome with the executed
notebook. Jupyter's client library exists in Python only; everything that judges is in TypeScript.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

# Runs after the last cell: the kernel answers, and rejections from pending timers get 2 s to appear.
SENTINEL = """
for (let wait = 0; wait < 20 && process.getActiveResourcesInfo().includes("Timeout"); wait++) {
  await new Promise((resolve) => setTimeout(resolve, wait === 0 ? 0 : 100).unref());
}
await new Promise((resolve) => setImmediate(resolve));
console.log("folio: the end of the notebook");
"""


def tell(**event):
    print(json.dumps(event), flush=True)


def end_with_parent():
    """Standard input ends when the runner does, however it ended; then the kernel must not stay."""
    while os.read(0, 4096):
        pass
    if kernel_pid:
        try:
            os.killpg(kernel_pid, 9)
        except ProcessLookupError:
            pass
    os._exit(1)


kernel_pid = 0


async def run(path: Path, budget: float, start: float, answers: Path | None) -> None:
    global kernel_pid
    notebook = nbformat.read(path, as_version=4)
    if answers:
        notebook.cells.append(nbformat.v4.new_code_cell(answers.read_text(encoding="utf-8")))
    deadline = 0.0  # the budget starts when the kernel is there
    client = NotebookClient(
        notebook,
        kernel_name="tslab",
        resources={"metadata": {"path": str(path.parent)}},
        timeout_func=lambda cell: max(0.1, deadline - time.monotonic()),
        startup_timeout=round(start),
        shutdown_kernel="immediate",
        record_timing=False,
    )
    replies: dict[int, str] = {}
    client.on_cell_executed = lambda cell, cell_index, execute_reply: replies.__setitem__(
        cell_index, execute_reply["content"]["status"]
    )
    index, number, outcome = -1, 0, {"kind": "end"}
    try:
        # A kernel that shared this process's standard output would make it non-blocking, and long lines would be cut.
        async with client.async_setup_kernel(cwd=str(path.parent), stdout=subprocess.DEVNULL):
            kernel_pid = client.km.provisioner.pid
            tell(kind="kernel", pid=kernel_pid)
            deadline = time.monotonic() + budget
            try:
                for index, cell in enumerate(notebook.cells):
                    if cell.cell_type != "code" or not cell.source.strip():
                        continue
                    number += 1
                    started = time.monotonic()
                    await client.async_execute_cell(cell, index)
                    seconds = time.monotonic() - started
                    tell(kind="cell", cell=number, status=replies.get(index, "none"), seconds=seconds)
                number = 0
                notebook.cells.append(nbformat.v4.new_code_cell(SENTINEL))
                await client.async_execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
                said = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
                outcome["sentinel"] = "folio: the end of the notebook" in said
            except CellExecutionError:
                outcome = {"kind": "thrown", "cell": number}
            except CellTimeoutError:
                outcome = {"kind": "budget", "cell": number}
            except DeadKernelError:
                outcome = {"kind": "dead", "cell": number}
    except (RuntimeError, TimeoutError) as error:
        if not kernel_pid:
            outcome = {"kind": "unstarted", "cell": 0, "error": str(error)}
    if notebook.cells and notebook.cells[-1].source == SENTINEL:
        notebook.cells.pop()
    tell(**outcome, outputs=[cell.get("outputs", []) for cell in notebook.cells])


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    file, budget, start, *answers = sys.argv[1:]
    asyncio.run(run(Path(file).resolve(), float(budget), float(start), Path(answers[0]) if answers else None))
    os._exit(0)  # without waiting for the thread that reads
