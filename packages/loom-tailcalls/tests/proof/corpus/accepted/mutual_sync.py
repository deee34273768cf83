"""Plain functions of one group."""
# exact: refused

from subject import log, tailrec


@tailrec(group="states")
def start(text, at=0):
    if at == len(text):
        return "end"
    return digit(text, at) if text[at].isdigit() else word(text, at)


@tailrec(group="states")
def digit(text, at):
    log("digit", text[at])
    return start(text, at + 1)


@tailrec(group="states")
def word(text, at):
    log("word", text[at])
    return start(text, at=at + 1)


def main():
    return start("a1b2")


def deep():
    import subject

    before = subject.log
    globals()["log"] = lambda *_: None
    try:
        return start("a1" * 1000)
    finally:
        globals()["log"] = before


DEEP = "end"
