"""Runs a command on a terminal of its own, which closes when this program's standard input ends.

    python3 closed-terminal.py COMMAND [argument ...]

What the command writes goes to standard output; the last line is how it ended: "ended 129", or "ended SIGHUP".
"""
import os
import pty
import select
import signal
import sys

begun, own = os.pipe()
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
# The pipe closes when the command has begun. Closed before, the terminal would end what only prepares it, with exit code 1.
os.close(own)
os.read(begun, 1)
while True:
    ready, _, _ = select.select([terminal, 0], [], [])
    if 0 in ready and not os.read(0, 4096):
        break
    if terminal in ready:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # it has ended by itself
            break
        if not chunk:
            break
        os.write(1, chunk)
os.close(terminal)
_, status = os.waitpid(pid, 0)
how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
os.write(1, f"\nended {how}\n".encode())
