#!/usr/bin/env python3
"""Runs a command on a pseudo-terminal and talks to it.

    terminal.py COLUMNS STEP... -- COMMAND ARGUMENT...

Steps: "TEXT" is sent (Python's escapes hold); "?TEXT" waits until TEXT is there after what was waited for before;
"!NAME" sends the signal; "hangup" closes the terminal. What the command wrote goes to standard output, its exit code is
this program's (128 + n for a signal, 99 where a wait was in vain).
"""
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import fcntl

LIMIT = 60  # seconds, of one wait


class Terminal:
    def __init__(self, columns, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execvp(command[0], command)
        self.seen, self.at, self.code = b"", 0, None

    def read(self, seconds):
        if self.fd is None or not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the command is gone
            data = b""
        self.seen += data
        return data != b""

    def wait_for(self, text):
        end = time.monotonic() + LIMIT
        while self.seen.find(text, self.at) < 0:
            if not self.read(1) and (self.exited() or time.monotonic() > end):
                self.read(0)
                if self.seen.find(text, self.at) < 0:
                    self.finish(f"not seen: {text!r}")
                break
        self.at = self.seen.find(text, self.at) + len(text)
        if text.endswith(b"> "):
            self.wait_for_keys()

    def wait_for_keys(self):
        """A prompt is there before the line editor takes keys one by one: what is typed meanwhile Ctrl-C throws away."""
        end = time.monotonic() + 5
        while not self.exited() and time.monotonic() < end:
            if not termios.tcgetattr(self.fd)[3] & termios.ICANON:
                break
            time.sleep(0.005)

    def exited(self, options=os.WNOHANG):
        if self.code is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def finish(self, complaint=None):
        if complaint and not self.exited():
            os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + LIMIT
        while not self.exited():
            self.read(0.05)
            if time.monotonic() > end:
                complaint = complaint or "it does not end"
                os.kill(self.pid, signal.SIGKILL)
        while self.read(0):
            pass
        sys.stdout.buffer.write(self.seen)
        sys.stdout.flush()
        if complaint:
            print(f"\nterminal.py: {complaint}", file=sys.stderr)
            sys.exit(99)
        sys.exit(self.code if self.code >= 0 else 128 - self.code)


def main():
    split = sys.argv.index("--")
    t = Terminal(int(sys.argv[1]), sys.argv[split + 1 :])
    for step in sys.argv[2:split]:
        if step[0] == "?":
            t.wait_for(step[1:].encode())
        elif step[0] == "!":
            os.kill(t.pid, getattr(signal, "SIG" + step[1:]))
        elif step == "hangup":
            os.close(t.fd)
            t.fd = None
        else:
            os.write(t.fd, step.encode().decode("unicode_escape").encode("latin-1"))
    t.finish()


main()
