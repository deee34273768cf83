// Each view handles its own keys; the page asks the current view before it ignores a key.

import type { RefObject } from "preact";

/** Return true when the key was used. */
export type KeyHandler = (key: string) => boolean;
export type ViewKeys = RefObject<KeyHandler | null>;
