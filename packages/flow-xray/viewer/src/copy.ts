// To the clipboard, also where a page from disk has none.

export async function copy(content: string, done: string, say: (text: string) => void): Promise<void> {
  try {
    await navigator.clipboard.writeText(content);
    say(done);
  } catch {
    // Pages from disk may have no clipboard: let the browser copy a selection instead.
    const area = document.createElement("textarea");
    area.value = content;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    const isDone = document.execCommand("copy");
    area.remove();
    say(isDone ? done : "The browser did not allow copying");
  }
}
