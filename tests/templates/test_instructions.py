import pytest

from berm.templates.dockerfile import Instruction, parse
from berm.templates.instructions import RULES
from berm.templates.problems import Problem


def _parsed(text: str) -> tuple[Instruction, tuple[Problem, ...]]:
    dockerfile, problems = parse(f"FROM a\n{text}".encode())
    _, instruction = dockerfile.instructions
    return instruction, problems


def _only(text: str) -> Instruction:
    instruction, problems = _parsed(text)
    assert problems == ()
    return instruction


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("COPY a b", ("a", "b")),
        ("COPY  a\t$b  'c d' ", None),
        ("COPY $a ${b:-c} d/", ("$a", "${b:-c}", "d/")),
        ('ADD "a" b', ('"a"', "b")),
        ("ADD https://example.com/x /", ("https://example.com/x", "/")),
        ("EXPOSE 80 $p/tcp 1-3", ("80", "$p/tcp", "1-3")),
        ("VOLUME /a /b", ("/a", "/b")),
        ("USER a:b", ("a:b",)),
        ("WORKDIR /a b", ("/a b",)),
        ('WORKDIR "/a b"', ('"/a b"',)),
        ("STOPSIGNAL SIGINT", ("SIGINT",)),
        ("RUN a 'b  c'", ("a 'b  c'",)),
        ("CMD a b", ("a b",)),
        ("ENTRYPOINT a b", ("a b",)),
        ("HEALTHCHECK NONE", ("NONE",)),
        ("HEALTHCHECK none", ("NONE",)),
        ("HEALTHCHECK --retries=1 cmd a b", ("CMD",)),
        ("ONBUILD RUN a", ()),
        ("LABEL a=b 'c d'=\"e f\"", ("a=b", "'c d'=\"e f\"")),
        ("ARG a b=c", ("a", "b=c")),
    ],
)
def test_words(text: str, words: tuple[str, ...] | None) -> None:
    if words is None:
        _, problems = parse(f"FROM a\n{text}".encode())
        assert [(each.line, each.column, each.message) for each in problems] == [
            (2, 13, "a single quote is not closed"),
            (2, 17, "a single quote is not closed"),
        ]
    else:
        instruction = _only(text)
        assert (instruction.words, instruction.exec_form) == (words, None)
        assert instruction.original == text


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('RUN ["a", "b c"]', ("a", "b c")),
        ('CMD [ "a" ]', ("a",)),
        ("CMD []", ()),
        ("ENTRYPOINT [ ]", ()),
        ('ENTRYPOINT ["$a", "\\u00e9\\n\\"\\\\"]', ("$a", 'é\n"\\')),
        ('SHELL ["/bin/bash", "-c"]', ("/bin/bash", "-c")),
        ('VOLUME ["/a"]', ("/a",)),
        ('COPY ["a b", "c"]', ("a b", "c")),
        ('ADD --chown=a ["a b", "c"]', ("a b", "c")),
        ('CMD ["a", \\\n  "b"]', ("a", "b")),
        ('CMD ["\\ud83d\\ude00", "\\ud83d"]', ("\U0001f600", "\ufffd")),
    ],
)
def test_json(text: str, items: tuple[str, ...]) -> None:
    instruction = _only(text)
    assert (instruction.exec_form, instruction.words) == (items, items)


@pytest.mark.parametrize(
    "text",
    [
        "CMD ['a', 'b']",
        "CMD [a, b]",
        'CMD ["a", "b"',
        'CMD ["a"] b',
        'RUN ["a",]',
        'ENTRYPOINT ["a" "b"]',
        "CMD [" * 2,
    ],
)
def test_what_looks_like_json_is_for_the_shell_with_a_warning(text: str) -> None:
    instruction, (warning,) = _parsed(text)
    keyword, _, shell = text.partition(" ")
    assert (instruction.exec_form, instruction.text) == (None, shell)
    assert str(warning).startswith(f"Dockerfile:2:{len(keyword) + 2}: warning: this is not JSON")


@pytest.mark.parametrize("text", ["[ -f a ] && b", "[ -f a ]; b", "[[ $a = b ]] || c", '[ "$x" = 1 ]'])
def test_a_test_is_not_taken_for_json(text: str) -> None:
    assert _only(f"RUN {text}").text == text


def test_words_with_blanks_need_json() -> None:
    _, problems = parse(b'FROM a\nCOPY "a b" c\n')
    assert {problem.hint for problem in problems} == {
        'what has blanks in it needs the JSON form, as in ["a b", "c"]'
    }


def test_blanks_of_other_scripts_divide_nothing() -> None:
    assert _only("COPY a\u00a0b c").words == ("a\u00a0b", "c")


def test_text_that_looks_like_json_is_words_elsewhere() -> None:
    instruction, (warning,) = _parsed("COPY [a] b")
    assert (instruction.words, warning.column) == (("[a]", "b"), 6)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ENV a=b", (("a", "b"),)),
        ("ENV a=", (("a", ""),)),
        ("ENV a=b=c d==", (("a", "b=c"), ("d", "="))),
        ("ENV a=\"b c\" d=e\\ f \\\n g='h i'", (("a", '"b c"'), ("d", "e\\ f"), ("g", "'h i'"))),
        ('ENV a="b\\" c" d="\'"', (("a", '"b\\" c"'), ("d", '"\'"'))),
        ("ENV a='b\\' c=d", (("a", "'b\\'"), ("c", "d"))),
        ('ENV a=b"c d"e', (("a", 'b"c d"e'),)),
        ("ENV a=$b:${c:-d} e\\=f=g", (("a", "$b:${c:-d}"), ("e\\", "f=g"))),
        ("ENV a=\\\\ b=c", (("a", "\\\\"), ("b", "c"))),
        ('LABEL "a b"=c d.e="f\\\n g"', (('"a b"', "c"), ("d.e", '"f g"'))),
        ("ARG a", (("a", None),)),
        ("ARG a= b c='d e' \\\n f", (("a", ""), ("b", None), ("c", "'d e'"), ("f", None))),
    ],
)
def test_pairs(text: str, pairs: tuple[tuple[str, str | None], ...]) -> None:
    assert _only(text).pairs == pairs


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("ENV a b", ("a", "b")),
        ("ENV a  b  c=d ", ("a", "b  c=d")),
        ('ENV a "b  c" d', ("a", '"b  c" d')),
        ("LABEL a.b c", ("a.b", "c")),
        ("ENV a\tb", ("a", "b")),
    ],
)
def test_the_old_form_of_a_pair(text: str, pair: tuple[str, str]) -> None:
    instruction, (warning,) = _parsed(text)
    assert instruction.pairs == (pair,)
    keyword = instruction.keyword
    assert str(warning).startswith(
        f"Dockerfile:2:{len(keyword) + 2}: warning: {keyword} name value is an old form"
    )


def test_a_healthcheck_has_its_command_inside() -> None:
    check = _only('HEALTHCHECK --interval=5s \\\n --timeout=1s CMD ["a", "b"]')
    assert check.flags == (("interval", "5s"), ("timeout", "1s"))
    assert check.nested
    assert (check.nested.keyword, check.nested.exec_form) == ("CMD", ("a", "b"))
    assert (check.nested.line, check.nested.column) == (3, 15)
    shell = _only("HEALTHCHECK CMD curl -f localhost || exit 1").nested
    assert shell
    assert (shell.exec_form, shell.text) == (None, "curl -f localhost || exit 1")


def test_a_trigger_is_inside_onbuild() -> None:
    nested = _only("onbuild copy --from=b c d").nested
    assert nested
    assert (nested.keyword, nested.flags, nested.words) == ("COPY", (("from", "b"),), ("c", "d"))
    assert nested.original == "copy --from=b c d"
    check = _only("ONBUILD HEALTHCHECK CMD a").nested
    assert check
    assert check.nested
    assert check.nested.text == "a"


def test_a_maintainer_is_kept() -> None:
    assert _only("MAINTAINER A <a@example.com>").words == ("A <a@example.com>",)


@pytest.mark.parametrize("keyword", sorted(RULES))
def test_every_instruction_has_arguments(keyword: str) -> None:
    for text in (keyword, f" {keyword.lower()} \t", f"{keyword} \\\n"):
        _, problems = parse(f"FROM a\n{text}\n".encode())
        error = next(each for each in problems if each.message.endswith("has no arguments"))
        assert error.message == f"{keyword} has no arguments"
        assert (error.line, error.column) == (2, text.upper().index(keyword) + len(keyword) + 1)
        assert error.hint.startswith("write ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FROM b AS", "2:8: error: FROM takes an image, and a name after AS"),
        ("FROM b c", "2:8: error: FROM takes an image, and a name after AS"),
        ("FROM b AS c d", "2:8: error: FROM takes an image, and a name after AS"),
        ("FROM b IS c", "2:8: error: FROM takes an image, and a name after AS"),
        ("FROM b as 1c", "2:11: error: '1c' cannot be the name of a stage"),
        ("FROM b as $c", "2:11: error: '$c' cannot be the name of a stage"),
        ("FROM ${b", "2:6: error: a '}' is missing after ${"),
        ("COPY a", "2:7: error: COPY needs a source and a target"),
        ("ADD --link a", "2:13: error: ADD needs a source and a target"),
        ('COPY ["a"]', "2:11: error: COPY needs a source and a target"),
        ("COPY []", "2:8: error: COPY needs a source and a target"),
        ("COPY a ${}", "2:8: error: ${ is followed by '}' and not by the name of a variable"),
        ('COPY ["a", "${"]', "2:6: error: '${': a '}' is missing after ${"),
        ('RUN ["a", 1]', "2:5: error: the JSON form of RUN has something else than strings"),
        ('CMD ["a", ["b"]]', "2:5: error: the JSON form of CMD has something else than strings"),
        ("CMD [null]", "2:5: error: the JSON form of CMD has something else than strings"),
        ('CMD ["a\\u0000"]', "2:5: error: a string has a NUL character"),
        ("RUN []", "2:5: error: RUN has no program to run"),
        ("SHELL []", "2:7: error: SHELL takes nothing but a JSON array"),
        ("SHELL bash -c", "2:7: error: SHELL takes nothing but a JSON array"),
        ("VOLUME []", "2:8: error: VOLUME has a path that is empty, or none"),
        ('VOLUME ["/a", ""]', "2:8: error: VOLUME has a path that is empty, or none"),
        ("ENV a", "2:5: error: ENV 'a' has no value"),
        ('ENV "a', "2:5: error: a double quote is not closed|2:5: error: ENV '\"a' has no value"),
        ("ENV a=b c", "2:9: error: 'c' has no value"),
        ("ENV a=b =c", "2:9: error: there is no name before '=c'"),
        ("ENV =", "2:5: error: there is no name before '='"),
        ("ENV a = b", "2:7: warning"),
        ("ENV a=b c='d", "2:11: error: a single quote is not closed"),
        ('ENV a=b c="d e', "2:11: error: a double quote is not closed"),
        ("ENV a='it's' b=c", "2:12: error: a single quote is not closed"),
        ("ENV a b ${", "2:9: error: a '}' is missing after ${|2:5: warning: ENV name value is an old form"),
        ("LABEL a", "2:7: error: LABEL 'a' has no value"),
        ("ARG =b", "2:5: error: there is no name before '=b'"),
        ("ARG a b${", "2:8: error: a '}' is missing after ${"),
        ("ARG a = b", "2:7: error: there is no name before '='"),
        ('ARG a="b', "2:7: error: a double quote is not closed"),
        ("USER ${a", "2:6: error: a '}' is missing after ${"),
        ("WORKDIR 'a", "2:9: error: a single quote is not closed"),
        ("EXPOSE 1 ${a:1}", "2:10: error: ${a is followed by ':', which means nothing there"),
        ("VOLUME /a '/b", "2:11: error: a single quote is not closed"),
        ("HEALTHCHECK curl x", "2:13: error: HEALTHCHECK takes CMD or NONE, not 'curl'"),
        ("HEALTHCHECK --interval=1s", "2:12: error: HEALTHCHECK has no arguments"),
        ("HEALTHCHECK CMD", "2:16: error: CMD has no arguments"),
        ("HEALTHCHECK CMD --interval=1s a", "2:17: error: CMD has no flag --interval"),
        ("HEALTHCHECK NONE a", "2:18: error: HEALTHCHECK NONE takes nothing else"),
        ("HEALTHCHECK --retries=1 NONE", "2:25: error: HEALTHCHECK NONE takes nothing else"),
        ("ONBUILD FROM b", "2:9: error: ONBUILD cannot wrap FROM"),
        ("ONBUILD onbuild RUN a", "2:9: error: ONBUILD cannot wrap ONBUILD"),
        ("ONBUILD MAINTAINER b", "2:9: error: ONBUILD cannot wrap MAINTAINER"),
        ("ONBUILD RNU b", "2:9: error: there is no instruction 'RNU'"),
        ("ONBUILD RUN", "2:12: error: RUN has no arguments"),
        ("ONBUILD COPY --x a b", "2:14: error: COPY has no flag --x"),
        ("ONBUILD --x RUN a", "2:9: error: ONBUILD has no flag --x"),
    ],
)
def test_complaints(text: str, complaint: str) -> None:
    dockerfile, problems = parse(f"FROM a\n{text}".encode())
    said = [f"{each.line}:{each.column}: {each.severity}: {each.message}" for each in problems]
    if complaint.endswith("warning"):
        assert [instruction.pairs for instruction in dockerfile.instructions[1:]] == [(("a", "= b"),)]
    else:
        assert sorted(said) == sorted(complaint.split("|"))
        assert len(dockerfile.instructions) == 1
