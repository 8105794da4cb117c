"""The same as tests/guests/ledger."""

from weir import About, count, now_us, random, state
from weir.filter import Filter, Needs, Reply, Request


class Plugin(Filter):
    about = About(name="ledger", summary="Does with the host what a request says")

    def __init__(self, config, needs: Needs) -> None:
        self.command = needs.input("header:x-do")

    def on_request(self, request: Request):
        command = request.text(self.command)
        if command is None:
            return None
        what, *words = command.split(" ")
        if what == "decide":
            return "no decision"
        return Reply(200, answer(what, words))


def answer(what: str, words: list) -> str:
    if what == "now":
        return str(now_us())
    if what == "add":
        return str(state.add("", words[0], int(words[1]), int(words[2])))
    if what == "get":
        value = state.get("", words[0])
        return "none" if value is None else value.decode()
    if what == "set":
        state.set("", words[0], words[1].encode(), int(words[2]))
        return "done"
    if what == "replace":
        expected = None if words[1] == "-" else words[1].encode()
        return str(state.replace("", words[0], expected, words[2].encode(), int(words[3]))).lower()
    if what == "remove":
        state.remove("", words[0])
        return "done"
    if what == "random":
        return random(16).hex()
    if what == "count":
        count(words[0], int(words[1]))
        return "done"
    raise RuntimeError("broken on purpose")
