// Copy to the clipboard, also in browsers where a page from disk has none.

export async function copy(content: string, done: string, notify: (text: string) => void): Promise<void> {
  try {
    await navigator.clipboard.writeText(content);
    notify(done);
  } catch {
    // A page from disk may have no clipboard: let the browser copy a selection instead.
    const area = document.createElement("textarea");
    area.value = content;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    const isDone = document.execCommand("copy");
    area.remove();
    notify(isDone ? done : "The browser did not allow copying");
  }
}
