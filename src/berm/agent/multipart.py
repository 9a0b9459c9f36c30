"""multipart/form-data uploads (RFC 7578), each part written as it comes."""

from collections.abc import Callable, Mapping
from typing import Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from berm.agent.errors import AgentError, Kind
from berm.agent.uploads import Upload

_FIELD = b"file"
_MAX_FILES = 10_000


class Parts:
    """Writes every part named `file`; others are skipped."""

    def __init__(
        self,
        content_type: str,
        open_part: Callable[[str | None, int], Upload],
        attributes: Mapping[str, str],
    ) -> None:
        """`open_part` gets the part's whole file name, if it has one, and its number. Raises AgentError."""
        self._open_part = open_part
        self._attributes = attributes
        self._paths: list[str] = []
        self._upload: Upload | None = None
        self._name = bytearray()
        self._value = bytearray()
        self._disposition = ""
        self._ended = False
        self._parser = self._make_parser(content_type)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def feed(self, data: bytes) -> None:
        """Raises AgentError."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise AgentError(Kind.INVALID, f"the body is not multipart/form-data: {error}") from error

    def finish(self) -> list[str]:
        """The paths written, in order. Raises AgentError if the body was cut short."""
        if not self._ended:
            raise AgentError(Kind.INVALID, "the multipart body ends early")
        return self._paths

    def _make_parser(self, content_type: str) -> MultipartParser:
        _, options = parse_options_header(content_type)
        try:
            return MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except (KeyError, FormParserError) as error:
            raise AgentError(Kind.INVALID, "the content type has no valid multipart boundary") from error

    def _on_part_begin(self) -> None:
        self._disposition = ""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != _FIELD:
            return
        if len(self._paths) >= _MAX_FILES:
            raise AgentError(Kind.INVALID, f"more than {_MAX_FILES} files in one request")
        filename = options.get(b"filename")
        name = filename.decode("utf-8", "surrogateescape") if filename is not None else None
        self._upload = self._open_part(name, len(self._paths))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._upload:
            self._upload.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        if self._upload:
            self._upload.finish(self._attributes)
            self._paths.append(self._upload.path)
        self._close()

    def _on_end(self) -> None:
        self._ended = True

    def _close(self) -> None:
        upload, self._upload = self._upload, None
        if upload:
            upload.__exit__()
