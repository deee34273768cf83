// The keys and the search syntax.

import { useEffect, useRef } from "preact/hooks";

const KEYS: [string, [string, string][]][] = [
  [
    "Everywhere",
    [
      ["1 – 8", "the views, in the order of the tabs"],
      ["/", "search; n and N (or Enter) for the next and previous result"],
      ["e", "next error"],
      ["Enter", "go to the inspector"],
      ["Esc", "close, clear the search, show the whole time range"],
      ["?", "this help"],
    ],
  ],
  [
    "Tree, transcript, diff",
    [
      ["j  k", "next, previous row (arrows too)"],
      ["l  h", "unfold or enter; fold or go to the caller"],
      ["f", "fold below the first level, or unfold; in the diff: show all calls"],
      ["c  C", "next, previous change in the diff"],
    ],
  ],
  [
    "Timeline, flame, graph",
    [
      ["w  s", "zoom in, out (wheel or pinch, too)"],
      ["a  d", "earlier, later (drag, too)"],
      ["z  0", "zoom to the selected call; show everything"],
      ["h j k l", "the neighbour in this direction (arrows too)"],
    ],
  ],
];

const SEARCHES: [string, string][] = [
  ["kind:llm  model:large", "calls of one kind, of one model"],
  ["name:fetch  thread:work", "by part of the name, of the thread"],
  ["status:error", "ok, error, open, interrupted, cancelled"],
  ["took>2s  self>10ms", "by time"],
  ["tokens>1000", "by tokens in and out"],
  ['"two words"', "an exact phrase; several words must all match"],
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
        {KEYS.map(([where, keys]) => (
          <>
            <h3>{where}</h3>
            <dl>
              {keys.map(([key, what]) => (
                <>
                  <dt>
                    <kbd>{key}</kbd>
                  </dt>
                  <dd>{what}</dd>
                </>
              ))}
            </dl>
          </>
        ))}
        <h2>Search</h2>
        <dl>
          {SEARCHES.map(([example, what]) => (
            <>
              <dt>
                <code>{example}</code>
              </dt>
              <dd>{what}</dd>
            </>
          ))}
        </dl>
      </div>
    </div>
  );
}
