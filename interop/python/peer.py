"""A Python program on the other side of the pipe, for the interop tests: plain sockets, nothing of .NET or Rust.

    peer.py named-server PATH [--do=WORK,...] [--rounds=N]
    peer.py named-client PATH [--do=WORK,...] [--rounds=N] [--clients=N]

Words and lines are those of ../dotnet/peer.cs: echo, end, push:N, pull:N, swap:N, hold; here also
"half": shuts its writing side down, then reads until the end.
"""

import socket
import sys
import threading

BLOCK = bytes((i * 167 + (i >> 8) * 13) & 255 for i in range(65521))
TWICE = BLOCK + BLOCK
status = 0


def note(line):
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def push(stream, count):
    left = count
    while left:
        chunk = BLOCK[: min(left, len(BLOCK))]
        stream.sendall(chunk)
        left -= len(chunk)
    note(f"pushed {count}")


def pull(stream, count):
    total = 0
    while total < count:
        got = stream.recv(min(65521, count - total))
        if not got:
            raise EOFError(f"the stream ended after {total} of {count} bytes")
        at = total % len(BLOCK)
        if got != TWICE[at : at + len(got)]:
            raise ValueError(f"the bytes from {total} to {total + len(got)} are wrong")
        total += len(got)
    note(f"pulled {count}")


def copy(stream, answer):
    total = 0
    while got := stream.recv(65536):
        total += len(got)
        if answer:
            stream.sendall(got)
    note(f"ended after {total} bytes")


def work(stream, works):
    for word in works.split("+"):
        name, _, number = word.partition(":")
        count = int(number or 0)
        if name == "echo":
            copy(stream, True)
        elif name == "end":
            copy(stream, False)
        elif name == "push":
            push(stream, count)
        elif name == "pull":
            pull(stream, count)
        elif name == "swap":
            pushing = on_thread(lambda: push(stream, count))
            pull(stream, count)
            pushing.join()
        elif name == "half":
            stream.shutdown(socket.SHUT_WR)
            copy(stream, False)
        elif name == "hold":
            sys.stdin.readline()
        else:
            raise ValueError(f"no such work: {word}")


def reporting(action):
    global status
    try:
        action()
    except Exception as error:  # every failure becomes a line and the exit status
        status = 3
        note(f"error {type(error).__name__}: {error}")


def on_thread(action):
    thread = threading.Thread(target=reporting, args=(action,))
    thread.start()
    return thread


def main():
    role, path = sys.argv[1:3]
    options = dict(argument[2:].split("=", 1) for argument in sys.argv[3:])
    works = options.get("do", "echo").split(",")
    rounds = int(options.get("rounds", len(works)))

    def of(number):
        return works[min(number, len(works) - 1)]

    def client():
        for number in range(rounds):
            with socket.socket(socket.AF_UNIX) as stream:
                stream.connect(path)
                note("connected")
                work(stream, of(number))

    def server():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            note("listening")
            for number in range(rounds):
                stream, _ = listener.accept()
                with stream:
                    note("connected")
                    work(stream, of(number))
                note("disconnected")

    if role == "named-client":
        for thread in [on_thread(client) for _ in range(int(options.get("clients", 1)))]:
            thread.join()
    else:
        reporting(server)
    note("closed")


main()
sys.exit(status)
