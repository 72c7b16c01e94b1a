import pytest

from saccade.core.errors import PromptError
from saccade.prompt import Message, Regex, Role, Special, Substring, Within, encode

MESSAGES = [
    {"role": "system", "content": "You are a careful assistant. Answer in [[rule|capitals]]."},
    {"role": "user", "content": "Was the room dirty?"},
    {"role": "assistant", "content": "YES."},
    {"role": "user", "content": "And the breakfast?"},
]
PLAIN = [{**message, "content": message["content"].replace("[[rule|", "").replace("]]", "")} for message in MESSAGES]
LOOP = "{% for m in messages %}"
END = "{% endfor %}"
FOLDED = (
    "<s>{% set lead = messages[0].content ~ '\n\n' if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}"
    "{{ '[INST] ' if m.role == 'user' else ' ' }}{{ lead if loop.first else '' }}{{ m.content | trim }}"
    "{{ ' [/INST]' if m.role == 'user' else '</s>' }}{% endfor %}"
)


def covered(p, name, sample=0):
    """The text from the first to the last character of a span's tokens."""
    places = [p.offsets[sample][at] for at in p.spans[name][sample].nonzero().flatten()]
    return p.plain[sample][min(low for low, _ in places) : max(high for _, high in places)].strip()


def test_roles_messages_and_markup(chatty):
    p = encode(chatty, MESSAGES)
    assert p.input_ids.tolist() == [chatty.apply_chat_template(PLAIN, add_generation_prompt=True)["input_ids"]]
    assert p.text == chatty.apply_chat_template(PLAIN, add_generation_prompt=True, tokenize=False)
    assert p.spans.names == (
        *("rule", "system", "user", "assistant"),
        *("message.0", "message.1", "message.2", "message.3", "bos", "prompt"),
    )
    assert covered(p, "rule") == "capitals"
    assert covered(p, "system") == covered(p, "message.0") == PLAIN[0]["content"]
    assert covered(p, "message.3") == "And the breakfast?"
    assert (p.spans["user"] == (p.spans["message.1"] | p.spans["message.3"])).all()
    assert p.tokens_of("bos") == ("<s>",)
    assert p.tokens.count("<s>") == 0
    assert p.tokens[0].count("<s>") == 1


def test_generation_prompt(chatty):
    closed = encode(chatty, MESSAGES[:3])
    assert closed.text.endswith("YES.<|im_end|>\n")
    opened = encode(chatty, MESSAGES[:3], add_generation_prompt=True)
    assert opened.text.endswith("<|im_start|>assistant\n")
    continued = encode(chatty, MESSAGES[:3], continue_final_message=True)
    assert continued.text.endswith("YES.")
    assert covered(continued, "message.2") == "YES."


def test_selectors_look_in_contents_only(chatty):
    p = encode(
        chatty,
        [{"role": "user", "content": "the user said: user"}],
        {
            "word": Substring("user", nth=1),
            "both": Substring("user", "all"),
            "all": Role("user"),
            "last": Message(-1),
            "ends": Special("<|im_end|>"),
        },
        automatic=False,
    )
    assert covered(p, "both") == "user said: user"
    assert covered(p, "word") == "user"
    assert covered(p, "all") == covered(p, "last") == "the user said: user"
    assert p.tokens_of("ends") == ("<|im_end|>",)
    with pytest.raises(PromptError, match="the chat template's own words"):
        encode(chatty, PLAIN, {"s": "im_start"})
    p = encode(chatty, PLAIN, {"s": Within(Regex(r"the \w+"), Message(3))})
    assert covered(p, "s") == "the breakfast"


@pytest.mark.parametrize(
    "template",
    [
        FOLDED,
        f"<s>{LOOP}{{{{ m.role }}}}: {{{{ m.content | trim }}}}\n{END}",
        f"{LOOP}{{{{ m.content }}}}\n{END}",
        f"<s>{LOOP}{{% if m.role == 'system' %}}{{{{ m.content }}}} {{{{ m.content }}}}{{% else %}}{{{{ m.content }}}}"
        f"{{% endif %}}|{END}",
        f"<s>{LOOP}{{{{ m.content.split('</think>')[-1] }}}}\n{END}",
    ],
    ids=["system folded into user", "trimmed", "bare", "said twice", "thoughts dropped where there are any"],
)
def test_templates_that_keep_contents(chatty, template):
    p = encode(chatty, MESSAGES, chat_template=template)
    for number, message in enumerate(PLAIN):
        assert covered(p, f"message.{number}").endswith(message["content"])
    assert "capitals" in covered(p, "rule")
    repeats = p.text.count(PLAIN[0]["content"])
    assert p.spans["message.0"].sum() >= repeats * len(PLAIN[0]["content"].split())


def test_white_space_that_a_template_trims(chatty):
    template = f"<s>{LOOP}<|im_start|>{{{{ m.content | trim }}}}{END}"
    p = encode(chatty, [{"role": "user", "content": "  \n[[a| hello]] world \n"}], chat_template=template)
    assert p.text == "<s><|im_start|>hello world"
    assert covered(p, "a") == "hello"
    assert covered(p, "message.0") == "hello world"
    with pytest.raises(PromptError, match="strips the white space that the span 'a'"):
        encode(chatty, [{"role": "user", "content": "hello[[a|  ]]"}], chat_template=template)


@pytest.mark.parametrize(
    ("template", "number"),
    [
        (f"<s>{LOOP}{{{{ m.content | upper }}}}{END}", 0),
        (f"<s>{LOOP}{{{{ m.content if m.role != 'user' else 'nothing' }}}}{END}", 1),
        (f"<s>{LOOP}{{{{ m.content | tojson }}}}{END}", 3),
        (f"<s>{LOOP}{{{{ m.content[:6] }}}}{END}", 0),
        (f"<s>{LOOP}{{{{ m.content if m.content | length < 30 else 'long' }}}}{END}", 0),
    ],
    ids=["upper case", "dropped", "escaped", "cut short", "replaced"],
)
def test_templates_that_change_contents_raise(chatty, template, number):
    messages = [*PLAIN[:3], {"role": "user", "content": 'Say "hi"'}]
    with pytest.raises(PromptError, match=rf"changes, drops or depends on the content of message {number}"):
        encode(chatty, messages, chat_template=template)


def test_parts_and_messages_without_text(chatty):
    template = (
        f"<s>{LOOP}{{% if m.content is string %}}{{{{ m.content }}}}{{% else %}}{{% for part in m.content %}}"
        f"{{{{ '<image>' if part.type == 'image' else part.text }}}}{{% endfor %}}{{% endif %}}<|im_end|>{END}"
    )
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "see [[a|this]]"}, {"type": "image"}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "well?"}]},
    ]
    p = encode(chatty, messages, chat_template=template, image_token="<image>")
    assert p.text == "<s>see this<image><|im_end|><|im_end|>well?<|im_end|>"
    assert p.tokens_of("image") == ("<image>",)
    assert covered(p, "a") == "this"
    assert covered(p, "message.0") == "see this"
    assert "message.1" not in p.spans
    assert "assistant" not in p.spans
    with pytest.raises(PromptError, match=r"Message\(index=1\) has no text content"):
        encode(chatty, messages, {"s": Message(1)}, chat_template=template)


def test_batch_of_chats_and_texts(chatty):
    p = encode(chatty, [MESSAGES[:2], "plain [[rule|text]]", PLAIN], optional={"rule"}, padding_side="left")
    assert p.absent["rule"] == (2,)
    assert p.absent["message.3"] == (0, 1)
    assert p.absent["system"] == (1,)
    assert [covered(p, "rule", 0), covered(p, "rule", 1)] == ["capitals", "text"]
    one = encode(chatty, MESSAGES[:2])
    width = one.input_ids.shape[1]
    assert p.input_ids[0, -width:].tolist() == one.input_ids[0].tolist()
    assert p.spans["user"][0, -width:].tolist() == one.spans["user"][0].tolist()


def test_truncated_chat(chatty):
    with pytest.raises(PromptError, match="span 's': max_length=20 cuts off all"):
        encode(chatty, PLAIN, {"s": "breakfast"}, max_length=20)
    p = encode(chatty, PLAIN, max_length=20)
    assert {"message.1", "message.3", "user"} <= {one.span for one in p.cut}
    assert p.spans["message.3"].sum() == 0


@pytest.mark.parametrize(
    ("messages", "arguments", "message"),
    [
        (PLAIN, {"spans": {"s": Role("sytem")}}, "did you mean 'system'"),
        (PLAIN, {"spans": {"s": Message(4)}}, "there is no message 4: the chat has 4"),
        (PLAIN, {"spans": {"user": "room"}}, "the span of all user messages"),
        ([{"role": "image", "content": "x"}], {}, "names of other spans"),
        ([{"content": "x"}], {}, "message 0 must be a mapping"),
        ([{"role": "user", "content": 3}], {}, "must be text or a list of parts"),
        ([{"role": "user", "content": "[[a|x"}], {}, "never closed"),
        (PLAIN, {"chat_template": "{{ raise_exception('Roles must alternate') }}"}, "Roles must alternate"),
    ],
)
def test_wrong_chats(chatty, messages, arguments, message):
    with pytest.raises(PromptError, match=message):
        encode(chatty, messages, **arguments)


def test_no_template(minilm):
    with pytest.raises(PromptError, match="has no chat template"):
        encode(minilm, PLAIN)


def test_names_of_roles_are_free_without_automatic_spans(chatty):
    p = encode(chatty, PLAIN, {"user": "room"}, automatic=False)
    assert p.spans.names == ("user", "prompt")
    assert covered(p, "user") == "room"
