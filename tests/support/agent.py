import asyncio
import sys
from pathlib import Path

from penstock import CacheWatch, Message, TextChunk, UsageChunk, format_dollars, open_provider, run_tools, tool


async def agent(watch: CacheWatch, folder: Path, history: list[Message], requests: list[str]) -> None:
    @tool
    def list_files() -> list[str]:
        """The paths of all files in the folder."""
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    @tool
    def read_file(path: str) -> str:
        """The text of a file. Nothing outside of the folder can be read."""
        return (folder / (folder / path).resolve().relative_to(folder.resolve())).read_text("utf-8")

    @tool
    async def edit_file(path: str, old: str, new: str) -> str:  # async: no two edits at the same time
        """Put new text in place of old text, which must occur exactly once in the file."""
        if (text := read_file(path)).count(old) != 1:
            raise ValueError(f"the old text stands in the file {text.count(old)} times")
        return f"Wrote {(folder / path).write_text(text.replace(old, new), 'utf-8')} characters."

    total = UsageChunk()
    async with watch:
        for request in requests:
            print(f"\n> {request}")
            history.append(Message("user", request))
            async for chunk in run_tools(watch, "You edit files.", history, [list_files, read_file, edit_file]):
                if isinstance(chunk, UsageChunk):
                    total += chunk
                elif isinstance(chunk, TextChunk):
                    print(chunk.text, end="", flush=True)
    cost, saved = format_dollars(total), format_dollars(watch.saved)
    print(f"\n{total.prompt_tokens} tokens in, {total.output_tokens} out: {cost}; caching saved {saved}")


if __name__ == "__main__":
    asyncio.run(agent(CacheWatch(open_provider()), Path(), [], sys.argv[1:] or ["What is in this folder?"]))
