"""The template half of both Python SDKs, behind one face."""

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2b import AsyncTemplate, Sandbox, Template


@dataclass(frozen=True)
class Sdk:
    """Builders are the same in both; calls are awaited."""

    kind: type[Template] | type[AsyncTemplate]

    def begin(self, context: Path | None = None, **options: Any) -> Any:
        """A builder that has no base yet."""
        return self.kind(file_context_path=context or "/nonexistent", **options)

    def on_base(self, context: Path | None = None, **options: Any) -> Any:
        return self.begin(context, **options).from_base_image()

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Template.build, .exists and so on."""
        function = getattr(self.kind, method)
        if self.kind is Template:
            return await asyncio.to_thread(function, *arguments, **options)
        return await function(*arguments, **options)

    async def build(self, template: Any, name: str = "", **options: Any) -> Any:
        return await self.call("build", template, name or new_name(), **options)


def new_name() -> str:
    return f"sdk-{uuid.uuid4().hex[:12]}"


def said(template: str, command: str, **options: Any) -> str:
    """What a command prints in a new sandbox of a template."""
    sandbox = Sandbox.create(template, timeout=60)
    try:
        return str(sandbox.commands.run(command, **options).stdout)
    finally:
        sandbox.kill()
