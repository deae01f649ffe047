"""Drives one kernel for kernel.ts: `kernel.py FOLDER NAME` reads a JSON command a line and answers each with one.

{"run": code, "interruptOn": text}: executes, interrupts once that text has appeared among the outputs.
{"complete": code, "at": position} and {"inspect": code, "at": position}: what the front end would ask for.
"""

import json
import os
import queue
import sys

from jupyter_client.manager import KernelManager


def reply(client, sent):
    while True:
        message = client.get_shell_msg(timeout=120)
        if message["parent_header"].get("msg_id") == sent:
            return message["content"]


def run(manager, client, code, interrupt_on):
    sent = client.execute(code)
    messages = []
    while True:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            if not manager.is_alive():
                return {"status": "dead", "messages": messages}
            continue
        if message["parent_header"].get("msg_id") != sent:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "status" and content["execution_state"] == "idle":
            break
        if "data" in content:  # Plotly's own code is long, and no test looks at it
            content = {**content, "data": {mime: str(value)[:20_000] for mime, value in content["data"].items()}}
        messages.append({"type": kind, **content})
        if kind != "execute_input" and interrupt_on and interrupt_on in json.dumps(content):
            interrupt_on = None
            manager.interrupt_kernel()
    return {**reply(client, sent), "messages": messages}


def main(folder, name):
    manager = KernelManager(kernel_name=name)
    manager.start_kernel(cwd=folder)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    print(json.dumps({"pid": manager.provisioner.pid}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "run" in command:
            answer = run(manager, client, command["run"], command.get("interruptOn"))
        else:
            kind = "complete" if "complete" in command else "inspect"
            answer = reply(client, getattr(client, kind)(command[kind], command["at"]))
        print(json.dumps(answer), flush=True)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    main(sys.argv[1], sys.argv[2])
