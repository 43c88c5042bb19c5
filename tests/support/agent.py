import asyncio
import sys
from pathlib import Path

from penstock import Message, TextChunk, format_dollars, open_provider, run, run_tools, tool
from penstock.meter import Metered


async def agent(provider: Metered, folder: Path, history: list[Message], requests: list[str]) -> None:
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

    async with provider:
        with run() as this_run:
            for request in requests:
                print(f"\n> {request}")
                history.append(Message("user", request))
                async for chunk in run_tools(provider, "You edit files.", history, [list_files, read_file, edit_file]):
                    if isinstance(chunk, TextChunk):
                        print(chunk.text, end="", flush=True)
        [total] = await provider.ledger.totals(where={"run": this_run})
    used, saved = total.usage, format_dollars(total.saved)
    print(f"\n{used.prompt_tokens} tokens in, {used.output_tokens} out: {format_dollars(used)}; caching saved {saved}")


if __name__ == "__main__":
    metered = Metered(open_provider("demo"), Path.home() / "spend.db")  # with a key: "sonnet", "gpt"
    asyncio.run(agent(metered, Path(), [], sys.argv[1:] or ["What is in this folder?"]))
