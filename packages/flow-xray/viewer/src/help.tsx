// The keyboard on one card.

import { useEffect, useRef } from "preact/hooks";

const KEYS: [string, string][] = [
  ["j  k", "next, previous row (arrows too)"],
  ["l  h", "unfold or enter; fold or go to the caller"],
  ["f", "fold everything below the first level, and back"],
  ["e", "next error"],
  ["/", "search; n and N go through what was found"],
  ["w  s", "zoom in and out around the selected call (Ctrl + wheel too)"],
  ["a  d", "earlier, later"],
  ["0", "the whole time"],
  ["1 – 3", "views"],
  ["Esc", "close, clear"],
];

const WORDS: [string, string][] = [
  ["kind:llm", "spans of one kind"],
  ["status:error", "ok, error, open, interrupted, cancelled"],
  ["took>2s  self>10ms", "by time"],
  ["tokens>1000", "by tokens in and out"],
  ['"two words"', "as they stand; several words must all be found"],
];

export function Help({ close }: { close: () => void }) {
  const card = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    card.current?.focus();
    return () => before?.focus?.();
  }, []);
  return (
    <div class="veil" onClick={close}>
      <div class="card" role="dialog" aria-modal="true" aria-label="Help" tabIndex={-1} ref={card} onClick={(event) => event.stopPropagation()}>
        <button class="icon" onClick={close} aria-label="Close the help">
          ✕
        </button>
        <h2>Keyboard</h2>
        <dl>
          {KEYS.map(([key, what]) => (
            <>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </>
          ))}
        </dl>
        <h2>Search</h2>
        <dl>
          {WORDS.map(([word, what]) => (
            <>
              <dt>
                <code>{word}</code>
              </dt>
              <dd>{what}</dd>
            </>
          ))}
        </dl>
      </div>
    </div>
  );
}
