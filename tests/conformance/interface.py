"""The calls that E2B publishes, read from interface/*.txt, and an OpenAPI document made of them."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]

HERE = Path(__file__).parent / "interface"
ALWAYS = ("401", "500")
"""What every call may answer beside what its line says."""

_CALL = re.compile(r"([A-Z]+) (\S+)(?: ([^<>]+?))?(?: < (.*?))? > (.*?)(?: ! (.*))?")
_PLAIN: dict[str, Json] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "bytes": {"type": "string", "format": "binary"},
    "any": {},
}
_LIMITS = {
    "integer": ("minimum", "maximum"),
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
}


@dataclass(frozen=True)
class Operation:
    """One line of the interface; texts of types are in its notation."""

    method: str
    path: str
    query: tuple[str, ...]
    body: str
    success: tuple[tuple[str, str], ...]
    """Each status with the type of its body."""
    errors: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Interface:
    operations: tuple[Operation, ...]
    shapes: dict[str, str]

    def openapi(self) -> Json:
        """An OpenAPI 3.1 document of all of it."""
        paths: dict[str, Json] = {}
        for operation in self.operations:
            paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
        return {
            "openapi": "3.1.0",
            "info": {"title": "E2B", "version": "1"},
            "paths": paths,
            "components": {"schemas": {name: _shape(text) for name, text in self.shapes.items()}},
        }


@cache
def read(name: str) -> Interface:
    """`api`, `volumecontent` or `agent`."""
    text = re.sub(r"\n +", " ", (HERE / f"{name}.txt").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    shapes = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return Interface(tuple(_call(line) for line in lines if " = " not in line), shapes)


def _call(line: str) -> Operation:
    match = _CALL.fullmatch(line)
    assert match, line
    method, path, query, body, success, errors = match.groups()
    answers = tuple(
        (status, kind) for status, _, kind in (text.partition(" ") for text in success.split(", "))
    )
    return Operation(
        method, path, tuple((query or "").split()), body or "", answers, tuple((errors or "").split())
    )


def _operation(operation: Operation) -> Json:
    answers = {status: _content("an answer", kind) for status, kind in operation.success}
    refusals = {status: _content("a refusal", "Error") for status in (*operation.errors, *ALWAYS)}
    named = [_parameter("path", f"{name}:str(1..)") for name in re.findall(r"{(\w+)}", operation.path)]
    asked = [_parameter("query", text) for text in operation.query]
    described: Json = {"parameters": named + asked, "responses": {**answers, **refusals}}
    if operation.body:
        kind = operation.body.removeprefix("?")
        content = _content("", kind)["content"]
        described["requestBody"] = {"required": kind == operation.body, "content": content}
    return described


def _content(description: str, kind: str) -> Json:
    if not kind:
        return {"description": description}
    media = "application/octet-stream" if kind == "bytes" else "application/json"
    return {"description": description, "content": {media: {"schema": schema(kind)}}}


def _parameter(place: str, text: str) -> Json:
    name, _, kind = text.partition(":")
    optional = name.endswith("?")
    # Lists are joined by commas in one parameter.
    return {
        "name": name.removesuffix("?"),
        "in": place,
        "required": not optional,
        "schema": schema(kind),
        **({"explode": False} if kind.startswith("[") else {}),
    }


def _shape(text: str) -> Json:
    if not re.match(r"\w+\?? \S", text):
        return schema(text)
    fields = [field.rsplit(" ", 1) for field in text.split(", ")]
    return {
        "type": "object",
        "required": [name for name, _ in fields if not name.endswith("?")],
        "properties": {name.removesuffix("?"): schema(kind) for name, kind in fields},
    }


def schema(kind: str) -> Json:
    """The JSON schema of a type."""
    if kind.endswith("?"):
        return {"anyOf": [schema(kind[:-1]), {"type": "null"}]}
    if "~" in kind:
        bare, _, pattern = kind.partition("~")
        return {**schema(bare), "pattern": pattern}
    if limits := re.fullmatch(r"(.*)\((\d*)\.\.(\d*)\)", kind):
        return _limited(schema(limits[1]), limits[2], limits[3])
    if kind.startswith("["):
        return {"type": "array", "items": schema(kind[1:-1])}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": schema(kind[1:-1])}
    return _word(kind)


def _limited(bare: Json, low: str, high: str) -> Json:
    keys = zip(_LIMITS[bare["type"]], (low, high), strict=True)
    return {**bare, **{key: int(value) for key, value in keys if value}}


def _word(kind: str) -> Json:
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if "|" in kind:
        return {"anyOf": [schema(part) for part in kind.split("|")]}
    if kind[0].isupper():
        return {"$ref": f"#/components/schemas/{kind}"}
    return {"type": "string", "enum": kind.split("/")}
