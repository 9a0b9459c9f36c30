import pytest

from berm.errors import BermError, Code
from berm.templates.plan import Base, Copy, Inline
from tests.templates.planning import ANY, Folder, copied, planned, wrong

HASH = "f" * 64
SHA = "sha256:" + "a" * 64


def copies(body: str, fetched: dict[str, str] | None = None) -> list[Copy]:
    return copied(planned(f"FROM a AS build\nRUN x\nFROM b\n{body}\n", fetched=fetched))


def copy(body: str, fetched: dict[str, str] | None = None) -> Copy:
    (found,) = copies(body, fetched)
    return found


@pytest.mark.parametrize(
    ("body", "sources", "target"),
    [
        ("COPY a /x", ("a",), "/x"),
        ("COPY a /x/", ("a",), "/x/"),
        ("COPY a x", ("a",), "/x"),
        ("COPY a .", ("a",), "/"),
        ("COPY a ./", ("a",), "/"),
        ("WORKDIR /w\nCOPY a .", ("a",), "/w/"),
        ("WORKDIR /w\nCOPY a x", ("a",), "/w/x"),
        ("WORKDIR /w\nCOPY a ../x/", ("a",), "/x/"),
        ("WORKDIR /w\nCOPY a x/..", ("a",), "/w/"),
        ("COPY a /x/../../y", ("a",), "/y"),
        ("COPY a //x", ("a",), "/x"),
        ("COPY . /x", (".",), "/x"),
        ("COPY / /x", (".",), "/x"),
        ("COPY ./ /x", (".",), "/x"),
        ("COPY ./a /x", ("a",), "/x"),
        ("COPY /a /x", ("a",), "/x"),
        ("COPY src/../a /x", ("a",), "/x"),
        ("COPY app/ /x", ("app",), "/x"),
        ("COPY app/. /x", ("app",), "/x"),
        ("COPY a b /x/", ("a", "b"), "/x/"),
        ("COPY *.txt /x/", ("*.txt",), "/x/"),
        ("COPY [a-b].txt /x/", ("[a-b].txt",), "/x/"),
        ('COPY ["a", "b", "/x y/"]', ("a", "b"), "/x y/"),
        ("COPY 'a' \"/x\"", ("a",), "/x"),
        ("ENV S=a T=/t\nCOPY $S ${T}/", ("a",), "/t/"),
        ("ARG S=a\nCOPY $S.txt /t", ("a.txt",), "/t"),
        ("WORKDIR /w\nCOPY a $UNSET", ("a",), "/w/"),
    ],
)
def test_sources_and_target(body: str, sources: tuple[str, ...], target: str) -> None:
    found = copy(body)
    assert (found.sources, found.target) == (sources, target)
    assert found.files_hash == ANY.select(sources).digest
    assert not found.unpack


@pytest.mark.parametrize(
    ("flags", "owner", "mode"),
    [
        ("", "", None),
        ("--chown=me", "me", None),
        ("--chown=me:staff", "me:staff", None),
        ("--chown=1000:0", "1000:0", None),
        ("--chown=$U:$U", "you:you", None),
        ("--chmod=755", "", 0o755),
        ("--chmod=0644", "", 0o644),
        ("--chmod=4755", "", 0o4755),
        ("--chmod=0", "", 0),
        ("--chmod=$M --chown=$U", "you", 0o700),
        ("--link --chown=me", "me", None),
        ("--link=false", "", None),
    ],
)
@pytest.mark.parametrize("keyword", ["COPY", "ADD"])
def test_owner_and_mode(keyword: str, flags: str, owner: str, mode: int | None) -> None:
    found = copy(f"ARG U=you M=700\n{keyword} {flags} a /x")
    assert (found.owner, found.mode) == (owner, mode)


def test_copy_ignores_the_user() -> None:
    assert copy("USER me\nCOPY a /x").owner == ""


@pytest.mark.parametrize(
    ("flag", "base"),
    [
        ("build", Base("stage", "0")),
        ("BUILD", Base("stage", "0")),
        ("0", Base("stage", "0")),
        ("busybox:1", Base("image", "busybox:1", "sha256:" + "d" * 64)),
    ],
)
def test_copy_from_elsewhere(flag: str, base: Base) -> None:
    found = copy(f"COPY --from={flag} /out /gone* /x/")
    assert found == Copy(("out", "gone*"), "/x/", base=base)


def test_add_unpacks_what_is_local() -> None:
    assert copy("ADD x.tar.gz /x").unpack
    assert copy("ADD a /x").unpack
    assert not copy("ADD --unpack=false x.tar.gz /x").unpack


def test_heredocs_are_files() -> None:
    found = copy("ENV A=1\nCOPY --chmod=755 --chown=me <<x <<'y' /d/\na $A \"${B:-2}\" 'q'\nx\n$A\ny")
    assert found == Copy(
        (), "/d/", inline=(Inline("x", "a 1 \"2\" 'q'\n"), Inline("y", "$A\n")), owner="me", mode=0o755
    )


def test_equal_markers_stand_for_the_texts_in_their_order() -> None:
    assert [
        each.inline for each in copied(planned("FROM a\nCOPY <<A a <<A <<B /d/\n1\nA\n2\nA\n3\nB\n"))
    ] == [
        (Inline("A", "1\n"),),
        (),
        (Inline("A", "2\n"), Inline("B", "3\n")),
    ]


def test_one_heredoc_can_be_any_file() -> None:
    assert copy("COPY <<EOF /etc/motd\nhi\nEOF") == Copy((), "/etc/motd", inline=(Inline("EOF", "hi\n"),))
    assert copy("ADD <<-EOF /etc/motd\n\thi\n\tEOF") == Copy((), "/etc/motd", inline=(Inline("EOF", "hi\n"),))


def test_files_and_heredocs_of_one_instruction_are_two_steps() -> None:
    plan = planned("FROM a\nCOPY a <<x b /d/\nt\nx\nRUN y\n")
    assert [each.sources for each in copied(plan)] == [("a",), (), ("b",)]
    assert [(step.name, step.line) for step in plan.stages[0].steps] == [
        ("1", 2),
        ("2", 2),
        ("3", 2),
        ("4", 5),
    ]


@pytest.mark.parametrize(
    ("body", "name", "mode"),
    [
        ("ADD https://example.com/a/f.tar.gz /x/", "f.tar.gz", 0o600),
        ("ADD https://example.com/f?x=1#y /x", "f", 0o600),
        ("ADD HTTP://example.com/f%20g /x/", "f g", 0o600),
        ("ADD --chmod=644 https://example.com/f /x", "f", 0o644),
        ("ADD https://example.com/ /x", "download", 0o600),
        ("ADD https://example.com /x", "download", 0o600),
        ("ARG H=example.com\nADD https://$H/f /x", "f", 0o600),
        ("ADD https://example.com/f[1].txt /x/", "f[[]1].txt", 0o600),
    ],
)
def test_add_of_a_url(body: str, name: str, mode: int) -> None:
    url = body.split()[-2].replace("$H", "example.com")
    found = copy(body, {url: HASH})
    assert (found.sources, found.files_hash, found.mode, found.unpack) == ((name,), HASH, mode, False)


def test_a_url_is_unpacked_if_that_is_said() -> None:
    url = "https://example.com/f.tar"
    assert copy(f"ADD --unpack=true {url} /x", {url: HASH}).unpack


def test_each_url_is_a_copy_of_its_own() -> None:
    one, two = "https://example.com/1", "https://example.com/2"
    found = copies(f"ADD {one} a {two} /x/", {one: "1" * 64, two: "2" * 64})
    assert [each.files_hash for each in found] == ["1" * 64, ANY.select(["a"]).digest, "2" * 64]


@pytest.mark.parametrize(
    ("body", "sources"),
    [
        ("COPY --parents a b/../c ./d/*.txt /x/", ("a", "c", "d/*.txt")),
        ("COPY --parents a/./b ./a/./b /x/", ("a/./b", "a/./b")),
        ("COPY --parents /a//b/./c/./d /x/", ("a/b/./c/d",)),
        ("COPY --parents ./././a a/./. a/./ /x/", ("a", "a/./.", "a/./.")),
        ("COPY --parents=false a/./b /x", ("a/b",)),
        ("COPY --parents src/**/*.py /x", ("src/**/*.py",)),
    ],
)
def test_what_sources_keep_of_their_paths(body: str, sources: tuple[str, ...]) -> None:
    found = copy(f"{body.replace('COPY', 'COPY --from=build')}")
    assert (found.sources, found.parents) == (sources, "--parents " in body)


def test_what_is_left_out() -> None:
    found = copy("ARG X=md\nCOPY --exclude=./*.$X --exclude=**/test/ --exclude=[!]a . /x")
    assert found.exclude == ("*.md", "**/test", "[!]a")
    assert found.files_hash == ANY.select(["."], found.exclude).digest
    assert found.files_hash != ANY.select(["."]).digest


@pytest.mark.parametrize("source", ["a", "<<f", "https://example.com/f"])
def test_permissions_in_symbols(source: str) -> None:
    fetched = {"https://example.com/f": HASH}
    keyword, end = ("COPY", "\nt\nf") if source == "<<f" else ("ADD", "")
    found = copy(f"ARG X=rX\n{keyword} --chmod=u=rwX,go=$X {source} /x{end}", fetched)
    assert (found.mode, found.chmod) == (0o600 if "//" in source else None, "u=rwX,go=rX")


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("COPY gone /x", "there is no 'gone' in the build context", ".dockerignore"),
        ("COPY *.gone /x", "there is no '*.gone' in the build context", "relative"),
        ("COPY ../a /x", "'../a' leads out", "context"),
        ("COPY a/../../b /x", "leads out", "context"),
        ("COPY $UNSET /x", "COPY has an empty source: $UNSET", "'.'"),
        ("COPY a b /x", "2 sources, and a target that is no directory", "/x/"),
        ('COPY ["a", "b", "x"]', "2 sources", "/x/"),
        ("COPY --chmod=u+q a /x", "COPY --chmod has 'u+q'", "u=rwX,go=rX"),
        ("COPY --chmod=999 a /x", "COPY --chmod has '999'", "0755"),
        ("COPY --chmod=77777 a /x", "COPY --chmod has '77777'", "0755"),
        ("ADD --chmod=$UNSET a /x", "ADD --chmod has ''", "0755"),
        ("COPY --chown=a:b:c a /x", "COPY --chown has 'a:b:c'", "user:group"),
        ("COPY --chown=$UNSET a /x", "COPY --chown has ''", "user:group"),
        ("COPY --chown=a: a /x", "COPY --chown has 'a:'", "user:group"),
        ("COPY --parents ../a /x", "leads out", "context"),
        ("COPY --parents a/./../../b /x", "leads out", "context"),
        ("COPY --parents **/./b /x", "has ** before /./", "after /./"),
        ("COPY --parents <<a /x\nt\na", "COPY --parents is for files and directories only", "of its own"),
        ("COPY --exclude=!a . /x", "--exclude has '!a': nothing can be taken back in", "leave out less"),
        ("COPY --exclude=$UNSET . /x", "--exclude has ''", "*.md"),
        ("COPY --exclude=./ . /x", "--exclude has './'", "*.md"),
        ("COPY --exclude=[a . /x", "the pattern '[a' ends in the middle", "close"),
        (
            "COPY --exclude=a a <<a /x/\nt\na",
            "COPY --exclude is for files and directories only",
            "of its own",
        ),
        ("ADD --exclude=a https://example.com/f /x", "ADD --exclude is for files", "an ADD of its own"),
        ("ADD --keep-git-dir a /x", "ADD --keep-git-dir is not supported", "RUN"),
        ("COPY --from=scratch a /x", "from=scratch has no files", "stage"),
        ("COPY https://example.com/f /x", "COPY cannot fetch", "ADD"),
        ("ADD https://example.com/f /x", "https://example.com/f was not downloaded", ""),
        ("ADD https://example.com/ /x/", "has no file name", "target"),
        ("ADD https://example.com/.. /x/", "has no file name", "target"),
        (f"ADD --checksum={SHA} a /x", "--checksum needs one URL", "its own"),
        ("ADD --checksum=md5:1 https://example.com/f /x", "ADD --checksum has 'md5:1'", "sha256:"),
        ("ADD https://example.com/r.git /x", "git repository is not supported", "RUN"),
        ("ADD https://example.com/r.git#main:sub /x", "git repository is not supported", "RUN"),
        ("ADD git@example.com:team/r.git /x", "git repository is not supported", "RUN"),
        ("ADD git://example.com/r /x", "git repository is not supported", "RUN"),
        ("ADD ssh://git@example.com/r /x", "git repository is not supported", "RUN"),
        ("COPY <<a/b /x\nt\na/b", "'a/b' cannot be the name of a file", "<<name"),
        ("COPY <<x /d\n${A:?no-A}\nx", "A: no-A", ""),
    ],
)
def test_what_is_wrong_has_its_place(body: str, message: str, hint: str) -> None:
    (problem,) = wrong(f"FROM a\n\n{body}\n")
    assert problem.line == 3
    assert message in problem.message
    assert hint in problem.hint


def test_every_missing_file_is_told() -> None:
    problems = wrong("FROM a\nCOPY gone a also /x/\nCOPY never /y\n")
    assert [(each.line, each.message.split("'")[1]) for each in problems] == [
        (2, "also"),
        (2, "gone"),
        (3, "never"),
    ]


def test_a_file_that_is_ignored_is_told_apart() -> None:
    (problem,) = wrong("FROM a\nCOPY .env /x\n", files=Folder({}, ignored=[".env"]))
    assert problem.message == "'.env' is left out of the build context"
    assert problem.hint == "mend .dockerignore"


def test_what_the_context_refuses_is_told() -> None:
    refusal = BermError(Code.TOO_LARGE, "'big' has 5 bytes", "leave it out")
    (problem,) = wrong("FROM a\nCOPY big /x\n", files=Folder({"big": "x"}, errors={"big": refusal}))
    assert (problem.line, problem.message, problem.hint) == (2, "'big' has 5 bytes", "leave it out")


def test_a_password_in_a_url_is_not_shown() -> None:
    (problem,) = wrong("FROM a\nADD https://me:secret@example.com/f /x\n")
    assert "secret" not in problem.message
    assert "https://example.com/f" in problem.message
