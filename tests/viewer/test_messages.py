"""The wire between page and server: which update answers which message."""

from viewer.session.messages import Bridge, Outbox


def test_an_update_says_which_message_it_answers_and_others_say_none():
    bridge = Bridge()

    def echo(kind, message):
        outbox.add(kind, message["content"])
        outbox.send()  # as what redraws a part by itself does

    outbox = Outbox(bridge, echo)
    outbox.add("say", "new results")
    outbox.send()
    assert bridge.update == {"say": "new results", "number": 1}, "nobody asked for it"
    bridge.message = {"number": 7, "kind": "echo", "content": "a"}
    assert bridge.update == {"echo": "a", "answers": 7, "number": 2}


def test_a_message_that_changes_nothing_is_answered_too():
    bridge = Bridge()
    Outbox(bridge, lambda kind, message: None)
    bridge.message = {"number": 3, "kind": "look"}
    assert bridge.update == {"answers": 3, "number": 1}
